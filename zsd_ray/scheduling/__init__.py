"""The pure scheduling core: events in, instructions out; no clock, network, Ray or torch."""
