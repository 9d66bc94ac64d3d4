"""The verbs of `runjail image`."""
