"""Mapping the labels of the data to classes."""
