"""From an image to a bundle: layers into the store, config.json for the runtime."""
