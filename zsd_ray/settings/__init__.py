"""What a section of a configuration is, whoever owns it: reading, overrides, errors in one line."""
