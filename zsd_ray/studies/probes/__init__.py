"""Linear and nearest-neighbour probes of a model's blocks."""
