"""The training loops; the networks come from models/."""
