"""NRI v0.1: programs that are asked about a container once it exists and before its own program starts."""
