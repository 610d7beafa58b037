"""Prompts and labels in the form that networks take."""
