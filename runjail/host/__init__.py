"""Operating systems: what the engine asks of one is in `base`."""
