"""Layers by chain ID and the roots of containers, kept in ZFS datasets or in directories."""
