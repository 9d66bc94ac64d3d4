"""Fixtures for tests of running containers."""

from tests.container.conftest import life

__all__ = ["life"]
