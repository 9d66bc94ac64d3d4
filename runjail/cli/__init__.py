"""argv to values, values to text; the only room that decides how the process ends."""
