"""From a micro-batch to scores, on a model."""
