"""Where CNI's lists and plugins are on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from runjail import settings
from runjail.cli.context import Context
from runjail.errors import InvalidConfig
from runjail.network.plugins import LONGEST, TIMEOUT
from runjail.target import TARGETS


@dataclass(frozen=True)
class Places:
    """directories: of lists, new ones go into the first; bins: of plugins; timeout: seconds of one call."""

    directories: tuple[str, ...]
    bins: tuple[str, ...]
    timeout: float


def places(context: Context) -> Places:
    """Return what [network] of runjail.toml says, or the system's places. Raises InvalidConfig."""
    target, path = TARGETS[context.host().os], context.settings()
    configured = settings.read(path)["network"] if path else {}
    timeout = float(configured.get("timeout", TIMEOUT))
    if not 0 < timeout <= LONGEST:
        raise InvalidConfig([f"network.timeout: must be above 0 and at most {LONGEST:g} seconds"], path)
    return Places(
        (configured["config"],) if "config" in configured else target.cni_dirs,
        (configured["bin"],) if "bin" in configured else target.cni_bins,
        timeout,
    )
