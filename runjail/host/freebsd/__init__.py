"""The FreeBSD host: jails."""
