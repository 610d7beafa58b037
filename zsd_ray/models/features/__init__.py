"""Features and attention maps inside networks."""
