"""One file a model family: its adapter."""
