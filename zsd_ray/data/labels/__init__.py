"""From the labels of the data to classes."""
