"""Questions to the saved rows of runs, answered without a model."""
