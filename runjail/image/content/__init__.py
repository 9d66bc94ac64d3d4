"""Blobs and images by digest: the content store, layouts and archives, and what makes new content from old."""
