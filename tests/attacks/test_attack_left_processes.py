"""Hooks, plugins, key providers and helpers whose children leave their session to outlive a failure or time-out."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from runjail.image.crypto import keyprovider
from runjail.image.crypto.options import SchemeError
from runjail.image.registry import credentials
from runjail.nri.messages import ContainerInfo
from tests.support.attacks.runaway_process import Runaway
from tests.support.nri.plugins import Plugins
from tests.support.program import LINUX, Bundle, Runjail

pytestmark = pytest.mark.needs("root")
STYLES = ("", "hopping", "reaping")
ENDS = ("exit 3", "kill -9 $$", "exec >&- 2>&-; exit 3")


def hook(script: str, timeout: int = 0) -> dict[str, Any]:
    """Return a hook that runs a shell script."""
    return {"path": "/bin/sh", "args": ["sh", "-c", script], **({"timeout": timeout} if timeout else {})}


def script(path: Path, text: str) -> Path:
    """Write an executable script."""
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


# Hooks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["prestart", "createRuntime"])
def test_a_failing_hook_of_create(runjail: Runjail, bundle: Bundle, runaway: Runaway, kind: str, style: str) -> None:
    bundle.config["hooks"] = {kind: [hook(f"{runaway.command(style)}; exit 3")]}
    failed = runjail("create", "-b", bundle.write(), "c")

    assert failed.returncode == 1 and f"hooks.{kind}[0]" in failed.stderr, failed
    assert runaway.ran()
    assert not runaway.lives()


@pytest.mark.parametrize("end", ENDS[1:])
def test_other_ends(runjail: Runjail, bundle: Bundle, runaway: Runaway, end: str) -> None:
    bundle.config["hooks"] = {"createRuntime": [hook(f"{runaway.command()}; {end}")]}
    failed = runjail("create", "-b", bundle.write(), "c")

    assert failed.returncode == 1, failed
    assert runaway.ran() and not runaway.lives()


def test_a_hook_that_takes_too_long(runjail: Runjail, bundle: Bundle, runaway: Runaway) -> None:
    bundle.config["hooks"] = {"createRuntime": [hook(f"{runaway.command()}; sleep 600", 5)]}
    failed = runjail("create", "-b", bundle.write(), "c")

    assert "no end after 5 s" in failed.stderr, failed
    assert runaway.ran() and not runaway.lives()


def test_a_failing_hook_that_init_runs(runjail: Runjail, bundle: Bundle, runaway: Runaway) -> None:
    """Without process numbers of its own on Linux: the end of a pid namespace would hide what we do not end."""
    if LINUX:
        namespaces = bundle.config["linux"]["namespaces"]
        bundle.config["linux"]["namespaces"] = [each for each in namespaces if each["type"] != "pid"]
    bundle.config["hooks"] = {"createContainer": [hook(f"{runaway.command()}; exit 3")]}
    failed = runjail("create", "-b", bundle.write(), "c")

    assert failed.returncode == 1, failed
    assert runaway.ran() and not runaway.lives()


@pytest.mark.parametrize("kind", ["poststart", "poststop"])
def test_a_failing_hook_after_create(runjail: Runjail, bundle: Bundle, runaway: Runaway, kind: str) -> None:
    bundle.config["hooks"] = {kind: [hook(f"{runaway.command()}; exit 3")]}
    runjail.ok("create", "-b", bundle.write(), "c")
    runjail("start", "c")
    runjail.ok("delete", "--force", "c")

    assert runaway.ran() and not runaway.lives()


def test_a_hook_that_succeeds_may_leave_a_daemon(runjail: Runjail, bundle: Bundle, runaway: Runaway) -> None:
    """And it is no child of the container's: nobody there would wait for it."""
    bundle.config["hooks"] = {kind: [hook(runaway.command())] for kind in ("createRuntime", "createContainer")}
    runjail.ok("create", "-b", bundle.write(), "c")

    assert runaway.lives(120)
    runjail.ok("delete", "--force", "c")


def test_an_interrupted_create(runjail: Runjail, bundle: Bundle, runaway: Runaway) -> None:
    """SIGTERM undoes the container; what its hook started ends with it, whatever session it is in."""
    bundle.config["hooks"] = {"createRuntime": [hook(f"{runaway.command()}; sleep 600")]}
    words = [runjail.program, "--root", str(runjail.root), "run", "-b", bundle.write(), "c"]
    with subprocess.Popen(words, env={}, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 120
        while not runaway.ran() and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) != 0

    assert runaway.ran() and not runaway.lives()
    assert runjail.ids() == []


# Plugins ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("end", ["printf '{}'", *ENDS])
def test_a_plugin_leaves_nobody(plugins: Plugins, runaway: Runaway, end: str, style: str) -> None:
    """Whether it fails or not: unlike a hook it has no reason to."""
    plugins.add("p", f"{runaway.command(style)}\n{end}")
    plugins.name("p")
    chain = plugins.chain(timeout=600)
    warnings: list[str] = []
    chain.run_all("create", ContainerInfo("c"), "", warnings.append)

    assert runaway.ran() and not runaway.lives()
    assert bool(warnings) == (end != "printf '{}'"), warnings


def test_a_plugin_that_takes_too_long(
    runjail: Runjail,
    bundle: Bundle,
    plugins: Plugins,
    runaway: Runaway,
) -> None:
    plugins.add("p", f"{runaway.command()}\nsleep 600")
    plugins.name("p")
    env = plugins.env(timeout=5)
    runjail.ok("create", "-b", bundle.write(), "c", env=env)
    failed = runjail("start", "c", env=env)

    assert "no answer after 5 s" in failed.stderr, failed
    assert runaway.ran() and not runaway.lives()


# Key providers and helpers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["echo '{}'", "exit 1", "sleep 600"])
def test_a_key_provider_leaves_nobody(
    tmp_path: Path, runaway: Runaway, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(keyprovider, "TIMEOUT", 5.0 if "sleep" in end else 600.0)
    provider = script(tmp_path / "provider", f"{runaway.command()}\n{end}")
    try:
        said = keyprovider.run((str(provider),), b"{}")
    except SchemeError as error:
        said = str(error).encode()

    assert said == b"{}\n" or b"exit status 1" in said or b"no end after 5 s" in said
    assert runaway.ran() and not runaway.lives()


@pytest.mark.parametrize("end", ["exit 1", "sleep 600"])
def test_a_failing_credential_helper_leaves_nobody(
    tmp_path: Path, runaway: Runaway, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(credentials, "HELPER_TIME", 5.0 if "sleep" in end else 600.0)
    script(tmp_path / "docker-credential-x", f"{runaway.command()}\n{end}")
    found = credentials.ask_helper("x", "registry.example", {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})

    assert found is None
    assert runaway.ran() and not runaway.lives()
