"""make release-check names what keeps a checkout from being released."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).resolve().parents[2]
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-31\n\n## [1.2.2] - 2025-12-01\n"


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release_check", TOP / ".ci/release_check.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("version", "tags", "faults"),
    [
        ("1.2.3", [], []),
        ("1.2.3", ["v1.2.3", "nightly"], []),
        ("1.2.3", ["v1.2.4"], ["tag v1.2.4: this is 1.2.3"]),
        ("1.3.0", [], ["CHANGELOG.md: the newest release is 1.2.3, not 1.3.0"]),
        (
            "",
            [],
            [
                "runjail/__init__.py: __version__ must be X.Y.Z, not ''",
                "CHANGELOG.md: the newest release is 1.2.3, not ",
            ],
        ),
    ],
)
def test_versions_agree(check: ModuleType, version: str, tags: list[str], faults: list[str]) -> None:
    assert check.faults_of_version(version, CHANGELOG, tags) == faults


def test_the_version_of_this_checkout_is_found(check: ModuleType) -> None:
    import runjail

    assert check.version_of((TOP / "runjail/__init__.py").read_text(encoding="utf-8")) == runjail.__version__


def test_a_wheel_holds_the_package_and_nothing_else(check: ModuleType) -> None:
    modules = ["runjail/__init__.py", "runjail/cli/main.py"]
    members = ["runjail/__init__.py", "runjail-1.2.3.dist-info/METADATA", "tests/test_lint.py"]

    assert check.faults_of_wheel(members, modules) == [
        "wheel: lacks runjail/cli/main.py",
        "wheel: holds tests/test_lint.py",
    ]
