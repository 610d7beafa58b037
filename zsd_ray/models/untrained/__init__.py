"""Networks to train, from their configurations."""
