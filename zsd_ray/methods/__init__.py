"""One file a classification method of the papers."""
