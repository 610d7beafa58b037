"""Pruning rules: which classes of an image stay in the race."""
