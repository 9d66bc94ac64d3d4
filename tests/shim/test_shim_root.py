"""Where a container's state is."""

from pathlib import Path
from typing import Any

import pytest

from runjail import protobuf
from runjail.cli.containerd_shim import _engine
from runjail.errors import UsageError
from runjail.shim import messages
from runjail.shim.runtime_options import state_root, wants_systemd

BUNDLE = "/run/containerd/io.containerd.runtime.v2.task/default/web"


def options(root: str, kind: str = "containerd.runc.v1.Options") -> dict[str, Any]:
    """Return a runtime's options."""
    return {"type_url": kind, "value": protobuf.encode(messages.OPTIONS, {"root": root})}


def test_beside_the_bundles() -> None:
    """Two containerds with different directories do not meet."""
    assert state_root(BUNDLE, "default") == "/run/containerd/runjail/default"
    assert state_root(BUNDLE, "default", options("")) == "/run/containerd/runjail/default"
    assert (
        state_root(BUNDLE, "default", options("/x", "runtimeoptions.v1.Options")) == "/run/containerd/runjail/default"
    )


def test_where_the_options_say(tmp_path: Path) -> None:
    """`delete`, which gets no options, finds it in the bundle."""
    assert state_root(str(tmp_path), "default", options("/elsewhere")) == "/elsewhere/default"
    assert state_root(str(tmp_path), "default") == "/elsewhere/default"


def test_who_asks_for_a_scope_of_systemd(tmp_path: Path) -> None:
    """Field 9 of containerd.runc.v1.Options, beside a root or alone."""
    asked = {"type_url": "containerd.runc.v1.Options", "value": b"\x48\x01"}
    assert wants_systemd(asked)
    assert not wants_systemd({**asked, "type_url": "runtimeoptions.v1.Options"})
    assert not wants_systemd(options("/x"))
    assert not wants_systemd(None)
    assert state_root(BUNDLE, "default", asked) == "/run/containerd/runjail/default"


def test_a_root_that_is_relative(tmp_path: Path) -> None:
    """To what, nobody knows: the shim stands in /."""
    with pytest.raises(UsageError, match="must be an absolute path"):
        state_root(str(tmp_path), "default", options("../elsewhere"))
    assert list(tmp_path.iterdir()) == []


def test_garbage_in_the_options() -> None:
    with pytest.raises(ValueError):
        state_root(BUNDLE, "default", {"type_url": "containerd.runc.v1.Options", "value": b"\xff"})


def test_permissions_that_the_settings_grant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container of containerd's may ask for what one of `runjail create` may."""
    settings = tmp_path / "runjail.toml"
    settings.write_text('[jail]\nallow = ["allow.mlock"]\n', encoding="ascii")
    monkeypatch.setenv("RUNJAIL_CONFIG", str(settings))

    assert _engine("").store(str(tmp_path)).allowed_params() == (str(settings), ["allow.mlock"])
