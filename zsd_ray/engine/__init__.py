"""Chooses what to do next: elimination, scheduling and packing, pure; and the shells' scorer."""
