"""The image half: references, layouts, registries, encrypted layers, and the way from an image to a bundle."""
