"""Denoisers: the one border to foreign models, and the only room that names their libraries."""
