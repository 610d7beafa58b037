"""Reads images, class names and templates."""
