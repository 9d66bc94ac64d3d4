"""Fixtures for tests of running containers."""

from tests.lifecycle.conftest import life

__all__ = ["life"]
