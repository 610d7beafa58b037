"""Winoground's scores, from pairs of images and captions."""
