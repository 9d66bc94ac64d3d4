"""runjail: OCI containers as FreeBSD jails."""

__version__ = "0.1.0"
