"""A model on images that it made itself."""
