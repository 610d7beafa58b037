"""Model folders and weights files: found, checked, hashed and loaded."""
