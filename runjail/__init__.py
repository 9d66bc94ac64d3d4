"""runjail: OCI containers as FreeBSD jails."""

from __future__ import annotations

__version__ = "0.1.0"
