"""Blobs and images by digest: the content store, layouts, archives, and new content from old."""
