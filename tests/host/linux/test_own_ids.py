"""The ids that an ordinary user has, and what is done as root of a namespace with them."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from runjail import signals
from runjail.errors import HostError, ImageError, RunjailError, StorageError, StoreNotFound
from runjail.host import programs
from runjail.spec.model import IdMappings
from tests.support.leaks import children
from tests.support.needs import has

pytestmark = pytest.mark.linux


@pytest.fixture
def lend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], IdMappings]:
    """Say what the two files hold; returns the mappings of the user `tester`, 4242 with group 4243."""
    import pwd

    from runjail.host.linux import own_ids

    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr(os, "getegid", lambda: 4243)
    row = pwd.struct_passwd(("tester", "x", 4242, 4243, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: row)
    monkeypatch.setattr(programs, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(own_ids, "LENT", {"uid": str(tmp_path / "uid"), "gid": str(tmp_path / "gid")})

    def write(uid: str, gid: str) -> IdMappings:
        (tmp_path / "uid").write_text(uid)
        (tmp_path / "gid").write_text(gid)
        return own_ids.mappings()

    return write


def test_ids_that_are_lent(lend: Callable[[str, str], IdMappings]) -> None:
    """By name or number, in order; other users' lines and nonsense are not ours."""
    found = lend("other:1:2\ntester:100000:65536\n4242:300000:10\ntester:x:y\n\n#\n", "tester:5000:1\n")

    assert found.uids == ((0, 4242, 1), (1, 100000, 65536), (65537, 300000, 10))
    assert found.gids == ((0, 4243, 1), (1, 5000, 1))


@pytest.mark.parametrize(
    ("uid", "gid"), [("", ""), ("tester:1:5\n", ""), ("", "tester:1:5\n"), ("tester:1:0", "a:1:1")]
)
def test_the_own_id_alone(lend: Callable[[str, str], IdMappings], uid: str, gid: str) -> None:
    assert lend(uid, gid) == IdMappings(((0, 4242, 1),), ((0, 4243, 1),))


def test_without_newuidmap(lend: Callable[[str, str], IdMappings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "which", lambda name: None if name == "newgidmap" else name)

    assert lend("tester:1:5\n", "tester:1:5\n") == IdMappings(((0, 4242, 1),), ((0, 4243, 1),))


def _call(work: Callable[[], None]) -> None:
    from runjail.host.linux import own_ids

    own_ids.call(IdMappings(((0, os.geteuid(), 1),), ((0, os.getegid(), 1),)), work)


def _fail(error: BaseException) -> None:
    raise error


needs_namespaces = pytest.mark.skipif(not has("user namespaces"), reason="needs user namespaces")


@needs_namespaces
def test_what_is_done_is_done_as_root(tmp_path: Path) -> None:
    _call(lambda: (tmp_path / "said").write_text(f"{os.geteuid()} {Path('/proc/self/uid_map').read_text()}") and None)

    assert (tmp_path / "said").read_text().split() == ["0", "0", str(os.geteuid()), "1"]


@needs_namespaces
@pytest.mark.parametrize(
    ("error", "kind", "text", "hint"),
    [
        (StorageError("no store", "make one"), StorageError, "no store", "make one"),
        (StoreNotFound("dir:/x"), StoreNotFound, str(StoreNotFound("dir:/x")), StoreNotFound("dir:/x").hint),
        (ImageError("bad"), ImageError, "bad", None),
        (FileNotFoundError(2, "No such file or directory", "/x"), HostError, "does not exist: /x", None),
        (ZeroDivisionError("x"), HostError, "internal error: ZeroDivisionError: x", "report what it was doing"),
    ],
)
def test_its_errors_are_ours(error: Exception, kind: type[RunjailError], text: str, hint: str | None) -> None:
    with pytest.raises(kind) as caught:
        _call(lambda: _fail(error))

    assert (str(caught.value), caught.value.hint) == (text, hint)


@needs_namespaces
def test_its_sudden_end_is_an_error() -> None:
    with pytest.raises(HostError, match="the process in our own user namespace ended with 7"):
        _call(lambda: os._exit(7))


@needs_namespaces
def test_an_interrupt_is_ours_as_well() -> None:
    with pytest.raises(signals.Interrupted) as caught:
        _call(lambda: _fail(signals.Interrupted(15)))

    assert caught.value.code == 143


@needs_namespaces
def test_ids_that_nobody_lends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's or newuidmap's refusal is an error, and the process is gone."""
    from runjail.host.linux import mapped_ids, own_ids

    def refuse(_pid: int, _ids: IdMappings) -> None:
        raise HostError("uidMappings: refused")

    others = children()
    monkeypatch.setattr(mapped_ids, "write", refuse)
    with pytest.raises(HostError, match="uidMappings: refused"):
        own_ids.fork(IdMappings(((0, 5, 1),), ((0, 5, 1),)))
    assert children() <= others


@needs_namespaces
@pytest.mark.parametrize(
    ("error", "text", "hint"),
    [
        (OSError(5, "Input/output error"), "input/output error", None),
        (HostError("making /a\udcff", "try\udcfe"), r"making /a\udcff", r"try\udcfe"),
    ],
)
def test_who_cannot_enter_says_so_and_ends(
    error: Exception, text: str, hint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went on as a copy of its creator, which then took back what that had made."""
    from runjail.host.linux import own_ids, user_namespace

    us, others = os.getpid(), children()
    monkeypatch.setattr(user_namespace, "enter", lambda *_: _fail(error))
    try:
        with pytest.raises(HostError) as caught:
            own_ids.fork(IdMappings(((0, 5, 1),), ((0, 5, 1),)))
    finally:
        if os.getpid() != us:
            os._exit(7)

    assert (str(caught.value), caught.value.hint) == (text, hint)
    assert children() <= others


def test_who_cannot_even_say_so_ends() -> None:
    """As when its creator was killed."""
    from runjail.host.linux import user_namespace

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    pid = os.fork()
    if not pid:
        try:
            user_namespace.fail(theirs, HostError("x"))
        finally:
            os._exit(7)
    theirs.close()

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_the_end_by_a_signal_is_that_of_a_shell() -> None:
    """137, as `kill -9` of the verb itself would give; it was 247."""
    from runjail.host.linux import own_ids

    pid = os.fork()
    if not pid:
        os.kill(os.getpid(), signal.SIGKILL)

    assert own_ids.accompany(pid) == 137
