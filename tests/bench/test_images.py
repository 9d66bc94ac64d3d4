"""The bench of images: medians, ratios to peers, and what a run costs beyond a bundle's."""

import pytest

from tests.bench.candidates import Times
from tests.bench.images import report, summary

BUNDLE: Times = {"first": [9.0], "first cpu": [9.0], "further": [0.1, 0.1, 5.0], "further cpu": [0.01] * 3}
OURS: Times = {"first": [1.0, 2.0, 9.0], "first cpu": [0.5] * 3, "further": [0.15] * 3, "further cpu": [0.02] * 3}
PODMAN: Times = {"first": [4.0] * 3, "first cpu": [1.0] * 3, "further": [0.3] * 3, "further cpu": [0.0] * 3}


def test_ratios_are_of_medians() -> None:
    ours, podman = summary({"bundle": BUNDLE, "overlay": OURS, "podman": PODMAN})

    assert (ours["first ms"], ours["first / podman"], ours["first cpu / podman"]) == (2000.0, 0.5, 0.5)
    assert (ours["further / podman"], ours["beyond a bundle ms"]) == (0.5, 50.0)
    assert podman["first / podman"] == 1.0


def test_what_is_not_there_or_not_counted_has_no_ratio() -> None:
    ours, _podman = summary({"bundle": BUNDLE, "overlay": OURS, "podman": PODMAN})

    assert (ours["first / ctr"], ours["further cpu / podman"]) == (None, None)


def test_goals_are_those_of_our_stores(capsys: pytest.CaptureFixture[str]) -> None:
    report(summary({"bundle": BUNDLE, "dir": OURS, "podman": PODMAN}), 0.1, "an image")
    goals = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("met", "MISSED"))]

    assert goals == [
        "met: dir, first / podman: 0.5, goal 0.7",
        "met: dir, beyond a bundle ms: 50.0, goal 60.0",
    ]
