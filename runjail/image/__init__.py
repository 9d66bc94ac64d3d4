"""The image half: references, layouts, registries, encrypted layers, and bundles of images."""
