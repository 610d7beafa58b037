"""Probabilities from the decisions of a run."""
