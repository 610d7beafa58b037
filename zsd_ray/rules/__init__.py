"""Pruning rules, which decide the classes of an image that stay in the race."""
