"""What parts of a network make of an image."""
