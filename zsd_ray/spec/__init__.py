"""Describes and does nothing: configuration, records, identity, errors."""
