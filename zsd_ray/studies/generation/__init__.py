"""Images that a model makes."""
