"""Readers of users' images, one per file, and their common parts."""
