"""What a model makes of some images of a run."""
