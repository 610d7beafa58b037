"""Rows of images: their schema, their buffer in memory, and their files."""
