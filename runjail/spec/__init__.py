"""config.json: its schema, its model, and the way from one to the other."""
