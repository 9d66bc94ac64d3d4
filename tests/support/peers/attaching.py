"""`attach` as people of an engine use it: on a terminal, with keys that detach, with signals, and killed."""

import signal
from collections.abc import Callable
from typing import Any

from tests.support.peers.commands import Caller, finish, on_terminal, start

SHELL = ("/bin/sh", "-c")
TELLS = "(while :; do echo ready; sleep 0.1; done) & "  # attaching shows what comes from then on
READS = f"{TELLS} read line; kill $!; echo got $line; exit 7"
TRAPS = "trap 'echo heard; exit 42' TERM; while :; do echo ready; sleep 0.1; done"
SIZE = "until test \"$(stty size)\" = '33 101'; do sleep 0.1; done; "
KEY = b"\x18"  # ctrl-x; podman takes keys that come one by one


def told(lines: list[str]) -> list[str]:
    """Return what is always the same of what was shown."""
    return [line for line in lines if line not in ("", "ready") and not line.startswith("stty:")]


def typed(caller: Caller, attach: list[str]) -> Any:
    """Attach a terminal, whose size the container gets, and type a line."""
    done = on_terminal(attach, caller.env, b"something\n", b"ready", (33, 101))
    return done.code, told(done.lines)


def keys(caller: Caller, attach: list[str], runs: Callable[[], bool]) -> Any:
    """Type the keys that detach, then attach again."""
    first = on_terminal(attach, caller.env, KEY, b"ready", (33, 101))
    return first.code, runs(), typed(caller, attach)


def signalled(caller: Caller, attach: list[str]) -> Any:
    """Send the client a signal, which it passes on. Its input stays open: at its end docker shows nothing more."""
    with start(attach, caller.env, stdin=True) as client:
        assert client.stdout and client.stdout.readline().endswith(b"ready\n")
        client.send_signal(signal.SIGTERM)
        return finish(client).code


def killed(caller: Caller, attach: list[str], runs: Callable[[], bool]) -> Any:
    """Kill the client; another one attaches."""
    with start(attach, caller.env, stdin=True) as client:
        assert client.stdout and client.stdout.readline() == b"ready\n"
        client.kill()
    return runs(), signalled(caller, attach)


def engine(
    caller: Any, detached: Callable[[str, str], Any], runs: Callable[[], bool], remove: Callable[[], Any]
) -> Any:
    """Return what every case comes to with docker or podman, whose words are the same."""
    attach, found = [*caller.command, "attach"], {}
    cases: dict[str, tuple[str, str, Callable[[], Any]]] = {
        "a terminal": ("-it", SIZE + READS, lambda: typed(caller, [*attach, "web"])),
        "keys": ("-it", SIZE + READS, lambda: keys(caller, [*attach, "--detach-keys=ctrl-x", "web"], runs)),
        "a signal": ("-i", TRAPS, lambda: signalled(caller, [*attach, "web"])),
        "no input": ("-i", TRAPS, lambda: signalled(caller, [*attach, "--no-stdin", "web"])),
        "killed": ("", TRAPS, lambda: killed(caller, [*attach, "web"], runs)),
    }
    for name, (options, script, act) in cases.items():
        detached(options, script)
        found[name] = act()
        remove()
    return found
