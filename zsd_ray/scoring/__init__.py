"""Scoring of micro-batches on a model."""
