"""Images: references, layouts, registries, encrypted layers, and bundles made of images."""
