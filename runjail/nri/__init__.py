"""NRI v0.1: programs that are asked about a container before its own program starts."""
