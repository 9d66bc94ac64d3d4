"""Terminals of a jail on a real FreeBSD: their size, their owner, and who sees them."""

import fcntl
import os
import signal
import struct
import termios

import pytest

from runjail.spec.model import Process, User
from tests.support.freebsd.real import Real

pytestmark = pytest.mark.freebsd


def test_a_console(real: Real) -> None:
    real.create()
    process = Process(("x",), user=User(1000, 1000), console_size=(33, 99))
    master, slave = real.host.open_console(process, real.host_state)

    def work() -> object:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        size = struct.unpack("HHHH", fcntl.ioctl(slave, termios.TIOCGWINSZ, bytes(8)))
        return size[:2], os.fstat(slave).st_uid, os.isatty(slave)

    said = real.inside(work, [slave])
    os.close(slave)
    os.close(master)

    assert said == "((33, 99), 1000, True)"


def test_a_terminal_is_seen_by_its_session_and_by_nobody_else(real: Real) -> None:
    real.build(mounts=[{"destination": "/dev", "type": "devfs", "source": "devfs"}])
    master, slave = real.host.open_console(Process(("x",)), real.host_state)
    name = os.path.basename(os.ttyname(slave))

    def controlled() -> object:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        return os.path.exists(f"/dev/pts/{name}")

    try:
        assert real.inside(controlled, [slave]) == "True"
        assert real.inside(lambda: os.path.exists(f"/dev/pts/{name}")) == "False"
    finally:
        os.close(slave)
        os.close(master)


def test_a_new_size_reaches_the_program(real: Real) -> None:
    real.create()
    master, slave = real.host.open_console(Process(("x",)), real.host_state)
    reading, writing = os.pipe()

    def wait_for_it() -> object:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
        signal.signal(signal.SIGWINCH, lambda *_: None)  # one that is ignored is not even kept for sigwait
        os.write(writing, b"go")
        if not signal.sigtimedwait({signal.SIGWINCH}, 20):
            return "no signal"
        return struct.unpack("HHHH", fcntl.ioctl(slave, termios.TIOCGWINSZ, bytes(8)))[:2]

    try:
        pid, said = real.fork(wait_for_it, [slave, writing])
        assert os.read(reading, 2) == b"go"
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 11, 22, 0, 0))
        with os.fdopen(said) as file:
            assert file.read() == "(11, 22)"
        os.waitpid(pid, 0)
    finally:
        for descriptor in (slave, master, reading, writing):
            os.close(descriptor)
