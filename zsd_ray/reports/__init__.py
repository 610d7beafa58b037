"""Figures, tables and the HTML report, from saved rows only."""
