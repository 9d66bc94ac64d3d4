"""Containerds that were unpacked beside the system: in the order of their versions, and none of them is run."""

import gzip
from pathlib import Path

import pytest

from tests.support.peers import kubernetes


def test_versions_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"a": "1:2.10.1~ds1-2", "b": "2.9-1", "c": "1.7.24~ds1-6+b3", "d": ""}
    for name, version in versions.items():
        (tmp_path / ".peers" / name / "usr/bin").mkdir(parents=True)
        (tmp_path / ".peers" / name / "usr/bin/containerd").touch()  # nothing that runs
        if version:
            (tmp_path / ".peers" / name / "usr/share/doc/containerd").mkdir(parents=True)
            with gzip.open(tmp_path / ".peers" / name / "usr/share/doc/containerd/changelog.Debian.gz", "wt") as file:
                file.write(f"containerd ({version}) sid; urgency=medium\n")
    monkeypatch.setattr(kubernetes, "TOP", tmp_path)

    assert [kubernetes.named(place) for place in kubernetes.containerds.__wrapped__()] == ["d", "c", "b", "a"]
