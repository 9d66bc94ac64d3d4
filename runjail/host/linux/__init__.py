"""The Linux host: namespaces and control groups."""
