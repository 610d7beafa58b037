"""The scheduler as pure code: events in, instructions out; no clock, network, Ray or torch."""
