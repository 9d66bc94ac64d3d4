"""Layers: tar archives, their compression, and applying them to a tree."""
