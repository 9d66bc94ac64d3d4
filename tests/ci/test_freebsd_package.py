"""What pkg-create(8) is given: the list names what was staged, the manifest what the program needs."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import runjail
from runjail.cli.modules import USES
from tests.support.program import TOP


def build(stage: Path, out: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run the script; on Linux it ends before pkg(8)."""
    words = ["sh", str(TOP / ".ci/freebsd_package"), str(stage), str(out)]
    variables = {"PATH": os.environ["PATH"], "PYTHON": sys.executable, **env}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=variables)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the stage and what was written."""
    place = tmp_path_factory.mktemp("package")
    done = build(place / "stage", place / "out", FLAVOUR="py311")
    assert done.returncode == 0, done.stderr
    return place


def test_the_list_is_what_was_staged(made: Path) -> None:
    listed = (made / "out/pkg-plist").read_text().splitlines()
    root = made / "stage/usr/local"
    staged = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or path.is_file()}

    assert listed == sorted(set(listed))
    assert set(listed) == staged
    wanted = {"bin/runjail", "bin/containerd-shim-runjail-v1", "bin/ctd-decoder", "libexec/runjail/nri/konfine"}
    wanted.add("etc/rc.d/runjail")
    assert wanted | {f"share/man/man8/runjail{name}.8" for name in ("", "-image", "-network", "-volume")} <= staged
    outside = [path for path in (made / "stage").rglob("*") if path.is_file() and root not in path.parents]
    assert outside == []


def test_the_manifest(made: Path) -> None:
    """The fields that pkg-create(8) requires; each module that a verb wants and FreeBSD has is a dependency."""
    manifest = json.loads((made / "out/+MANIFEST").read_text())

    for field in ("name", "version", "origin", "comment", "desc", "maintainer", "www", "prefix"):
        assert manifest[field] and isinstance(manifest[field], str), field
    assert manifest["version"] == runjail.__version__
    names = set(manifest["deps"])
    assert names == {
        "python311",
        *(f"py311-{USES[name][1]}" for name in USES if name not in ("isal", "backports.zstd")),
    }
    assert all(dependency["origin"].count("/") == 1 for dependency in manifest["deps"].values())
    assert "runjail check" in manifest["messages"][0]["message"]


def test_a_stage_that_is_in_use_is_refused(made: Path, tmp_path: Path) -> None:
    """What lies in it would be packed."""
    done = build(made / "stage", tmp_path / "out")

    assert (done.returncode, "is not empty" in done.stderr) == (1, True)


def write_port(place: Path, archive: Path) -> "subprocess.CompletedProcess[str]":
    """Run the script that writes a port."""
    words = [sys.executable, str(TOP / ".ci/freebsd_port.py"), str(place), str(archive), "https://example.org/releases"]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_a_port_fetches_the_archive_and_needs_what_the_package_needs(tmp_path: Path) -> None:
    """bmake reads it as ports(7) have it; the digest is that of the archive."""
    archive = tmp_path / f"runjail-{runjail.__version__}.tar.gz"
    archive.write_bytes(b"an archive")

    assert write_port(tmp_path / "port", archive).returncode == 0

    makefile = (tmp_path / "port/Makefile").read_text()
    facts = dict(line.split("=\t", 1) for line in makefile.splitlines() if "=\t" in line)
    assert facts["PORTNAME"] == "runjail"
    assert facts["DISTVERSION"] == runjail.__version__
    assert facts["MASTER_SITES"] == "https://example.org/releases/"
    for name in USES.keys() - {"isal", "backports.zstd"}:
        assert f"${{PYTHON_PKGNAMEPREFIX}}{USES[name][1]}>0:" in makefile
    assert makefile.count("@${PY_FLAVOR}") == len(USES.keys() - {"isal", "backports.zstd"})
    assert makefile.endswith(".include <bsd.port.mk>\n")
    assert all(
        line.startswith(("\t", ".")) or "=" in line or line.endswith(":") for line in makefile.splitlines() if line
    )
    digest = hashlib.sha256(b"an archive").hexdigest()
    assert (
        f"SHA256 ({archive.name}) = {digest}\nSIZE ({archive.name}) = 10\n" in (tmp_path / "port/distinfo").read_text()
    )
    assert (tmp_path / "port/pkg-descr").read_text().startswith("Creates, starts and deletes OCI containers")


def test_a_port_of_another_archive_is_refused(tmp_path: Path) -> None:
    """The port would look for a directory that is not in it."""
    (tmp_path / "main.tar.gz").touch()

    done = write_port(tmp_path / "port", tmp_path / "main.tar.gz")

    assert done.returncode == 1
    assert "not main.tar.gz" in done.stderr
    assert not (tmp_path / "port").exists()
