"""config.json as nobody would write it: mutated and random documents through the real program, never a traceback."""

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runjail import log
from runjail.cli import main
from tests.support.container.harness import Life, tree
from tests.support.leftovers import Leftovers
from tests.support.program import Runjail, base_config
from tests.support.spec.documents import places

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
    | st.sampled_from(["", "/", "..", "/../..", "a\0b", "\ud800", "/proc/self/fd/7", -1, 2**31, 2**63, 2**64, 1e308])
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = (
    "process root mounts hooks linux freebsd annotations hostname domainname args env cwd user uid gid umask "
    "additionalGids rlimits type soft hard path readonly destination source options prestart createRuntime "
    "poststop timeout namespaces resources memory limit cpu quota period pids devices sysctl maskedPaths jail "
    "parent vnet ip4Addr enforceStatfs allow capabilities terminal consoleSize height width ociVersion "
    "cgroupsPath rootfsPropagation oomScoreAdj "
).split()


def rich() -> dict[str, Any]:
    """Return a document with something of every section."""
    config = base_config(Leftovers("/"))
    config["process"].update(
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}],
        consoleSize={"height": 1, "width": 2},
        capabilities={"bounding": ["CAP_CHOWN"]},
        noNewPrivileges=True,
    )
    config["process"]["user"].update(umask=18, additionalGids=[5])
    config["mounts"] += [
        {"destination": "/data", "type": "nullfs", "source": "/etc", "options": ["ro", "rbind"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "size=1m"]},
    ]
    hook = {"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 5}
    config["hooks"] = {"createRuntime": [hook], "poststop": [hook]}
    config["annotations"] = {"org.freebsd.jail.vnet": "new", "a": "b"}
    config["freebsd"] = {"jail": {"ip4": "inherit", "enforceStatfs": 2, "allow": {"mount": ["tmpfs"]}}}
    config.setdefault("linux", {}).update(
        cgroupsPath="/fuzz",  # always the same: what is drawn depends on it
        resources={"memory": {"limit": 1 << 26}, "pids": {"limit": 10}},
        maskedPaths=["/proc/kcore"],
        sysctl={"kernel.shmmax": "1"},
    )
    return config


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Return a rich document with one to four values replaced, removed or added."""
    document = rich()
    for _ in range(draw(st.integers(1, 4))):
        way = draw(st.sampled_from(list(places(document))))
        if not way:
            continue
        parent = document
        for key in way[:-1]:
            parent = parent[key]
        what = draw(st.sampled_from(["replace", "remove", "add", "double"]))
        if what == "remove":
            del parent[way[-1]]
        elif what == "add" and isinstance(parent, dict):
            parent[draw(st.sampled_from(NAMES))] = draw(VALUES)
        elif what == "double" and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[way[-1]]))
        else:
            parent[way[-1]] = draw(VALUES)
    return document


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program run in this process: it may not close our descriptors."""
    monkeypatch.setattr(os, "closerange", lambda low, high: None)


def answer(tmp_path: Path, capfd: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """Run the program in this process; returns exit code, stdout, stderr."""
    capfd.readouterr()
    code = main.run(["runjail", "--root", str(tmp_path / "state"), *args])
    out, err = capfd.readouterr()
    log.set_up()
    return code, out, err


def check(code: int, out: str, err: str, verb: str) -> None:
    """Success without errors, only warnings; or one text and no output."""
    assert "Traceback" not in err and "internal error" not in err, err
    if code == 0:
        assert out and all(" level=warning msg=" in line for line in err.splitlines()), err
        return
    assert code == 1 and out == ""
    lines = err.splitlines()
    assert lines and all(lines)
    assert len(err.encode()) < 8192 or verb == "validate"
    if verb != "validate":
        assert lines[0].startswith("runjail: ")
        assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("hint: "))


VERBS = st.sampled_from(
    [
        ("validate", "--os", "freebsd"),
        ("validate", "--os", "linux"),
        ("plan", "--os", "freebsd"),
        ("plan", "--os", "linux", "-f", "json"),
    ]
)


@settings(max_examples=250)
@given(document=st.one_of(mutated(), mutated(), VALUES), verb=VERBS)
def test_documents(
    tmp_path: Path, in_process: None, capfd: pytest.CaptureFixture[str], document: Any, verb: tuple[str, ...]
) -> None:
    """validate and plan, for both systems."""
    (tmp_path / "config.json").write_text(json.dumps(document))
    check(*answer(tmp_path, capfd, *verb, "-b", str(tmp_path)), verb[0])


@settings(max_examples=150)
@given(
    data=st.one_of(st.binary(max_size=60), st.text('[]{}":,0123456789truefalsn\\ue+-. ', max_size=60).map(str.encode))
)
def test_files_that_are_no_documents(
    tmp_path: Path, in_process: None, capfd: pytest.CaptureFixture[str], data: bytes
) -> None:
    (tmp_path / "config.json").write_bytes(data)
    check(*answer(tmp_path, capfd, "validate", "-b", str(tmp_path)), "validate")


@settings(max_examples=150)
@given(data=st.data())
def test_cut_off_and_flipped_files(
    tmp_path: Path, in_process: None, capfd: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    """A real document with bytes lost, changed or doubled."""
    text = bytearray(json.dumps(rich()).encode())
    place = data.draw(st.integers(0, len(text) - 1))
    what = data.draw(st.sampled_from(["cut", "flip", "insert", "lose"]))
    if what == "cut":
        del text[place:]
    elif what == "flip":
        text[place] ^= 1 << data.draw(st.integers(0, 7))
    elif what == "insert":
        text[place:place] = data.draw(st.binary(min_size=1, max_size=4))
    else:
        del text[place : place + data.draw(st.integers(1, 5))]
    (tmp_path / "config.json").write_bytes(bytes(text))
    check(*answer(tmp_path, capfd, "plan", "--os", "freebsd", "-b", str(tmp_path)), "plan")


WORDS = (
    "--root --log --log-format --log-level --debug -b --bundle --os -f --format json text freebsd linux "
    "--version --help state start kill delete exec ps list pause resume update events features spec plan "
    "validate check help checkpoint --all --force -q --memory --pids-limit --interval --resources --preserve- "
    "fds --pid c nobody . -- - 5 1s "
).split()
ARGUMENTS = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=6)), max_size=7)
FORKING = {"create", "run"}


@settings(max_examples=300)
@given(words=ARGUMENTS)
def test_command_lines(
    tmp_path: Path,
    in_process: None,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    """Any words: an answer or an error of one text, never a traceback."""
    if FORKING & set(words) or {"\0", "/"} & set("".join(words)):  # "/": spec and --log write files
        return
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("RUNJAIL_ROOT", str(tmp_path / "state"))
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    capfd.readouterr()
    code = main.run(["runjail", *words])
    _out, err = capfd.readouterr()
    for descriptor in log.descriptors():
        os.close(descriptor)
    monkeypatch.setattr(log._Log, "descriptor", -1)
    log.set_up()

    assert code in (0, 1, 255)
    assert "Traceback" not in err and "internal error" not in err, (words, err)


@settings(max_examples=40)
@given(document=mutated())
def test_documents_through_create(life: Life, document: Any) -> None:
    """Whatever it says: created or refused; deleted by force, the image and the machine are as before."""
    if isinstance(document, dict):
        document.get("linux", {}).pop("cgroupsPath", None) if isinstance(document.get("linux"), dict) else None
        hooks = document.get("hooks")
        if isinstance(hooks, dict):
            document["hooks"] = {}
        if isinstance(document.get("root"), dict):
            document["root"] = {**document["root"], "path": "rootfs"}
        for mount in document["mounts"] if isinstance(document.get("mounts"), list) else []:
            if isinstance(mount, dict) and mount.get("source") not in ("/etc", "proc", "tmpfs", "devfs"):
                mount["source"] = "tmpfs"
    before = tree(life.bundle.rootfs)
    (life.path / "config.json").write_text(json.dumps(document))
    result = life.runjail("create", "-b", str(life.path), "c")
    assert result.returncode in (0, 1)
    assert "Traceback" not in result.stderr and "internal error" not in result.stderr, result
    assert (result.returncode == 0) or result.stderr.startswith("runjail: "), result
    if result.returncode == 0:
        life.runjail("start", "c")
    else:
        assert not (life.runjail.root / "c").exists(), result
    life.runjail.ok("delete", "--force", "c")
    after = [path for path in tree(life.bundle.rootfs) if path not in before]
    assert all(os.path.isdir(path) for path in after), (
        after
    )  # process.cwd may have been made: it belongs to the image now


def test_an_internal_error_is_one_line(
    runjail: Runjail,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_process: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A mistake of ours is said as such, with the way to the traceback; with --debug the traceback comes."""
    monkeypatch.setattr("runjail.cli.verbs.list.run", broken)
    code, out, err = answer(tmp_path, capfd, "list")

    assert (code, out) == (1, "")
    assert err.splitlines()[0] == "runjail: internal error in list: ZeroDivisionError: a mistake"
    with pytest.raises(ZeroDivisionError):
        answer(tmp_path, capfd, "--debug", "list")


def broken(_given: object, _context: object) -> int:
    raise ZeroDivisionError("a mistake")
