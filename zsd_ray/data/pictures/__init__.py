"""Converting the bytes of a picture to the input array of a model."""
