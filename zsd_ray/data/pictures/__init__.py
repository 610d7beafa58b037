"""From the bytes of a picture to the array that a model takes."""
