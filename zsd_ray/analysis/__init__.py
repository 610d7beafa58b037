"""Analyses of the saved rows of runs, without a model."""
