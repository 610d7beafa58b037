"""The adapters of the model families, one per file."""
