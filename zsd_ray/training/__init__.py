"""The loops that make models; the networks come from models/."""
