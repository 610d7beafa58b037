"""The base of all configuration sections: reading, overrides, errors in one line."""
