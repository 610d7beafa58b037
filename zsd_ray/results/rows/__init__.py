"""Rows of images: their schema, what is kept in memory, and the files that they are written to."""
