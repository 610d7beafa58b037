"""Hostile and damaged inputs, made by small generators: for the tests and benchmarks/fuzz.py."""
