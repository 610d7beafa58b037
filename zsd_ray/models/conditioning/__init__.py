"""Prompts and labels as networks take them."""
