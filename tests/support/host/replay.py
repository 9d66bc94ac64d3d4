"""devfs(8), ifconfig(8) and jail(8) of FreeBSD 15.1, in the words they used when they were recorded.

`FakePrograms.run` takes the place of programs.run. It keeps just enough state for the answers to follow each other;
test_freebsd_replay.py holds its answers against what was recorded.
"""

import json
import os
from collections.abc import Sequence
from typing import Any

from runjail.host.programs import Result
from tests.support.host.fake_libc import FakeKernel
from tests.support.program import TOP

RECORDINGS = str(TOP / "tests/host/recordings")
RULE_WORDS = {"path": 1, "type": 1, "include": 1, "mode": 1, "user": 1, "group": 1, "hide": 0, "unhide": 0}
PARAMETERS = {
    "name", "path", "persist", "host", "host.hostname", "host.domainname", "vnet", "ip4", "ip4.addr", "ip6", "ip6.addr",
    "enforce_statfs", "devfs_ruleset", "sysvmsg", "sysvsem", "sysvshm", "allow.raw_sockets", "allow.mount",
    "allow.mount.tmpfs", "allow.mount.devfs", "allow.mount.nullfs", "allow.chflags",
    "securelevel", "osrelease", "meta", "env", "children.max",
}  # fmt: skip


def recorded(name: str = "freebsd-15.1") -> list[tuple[list[str], bytes, Result]]:
    """Return commands that were recorded, in order: argv, standard input, what came back.

    `freebsd-15.1` was typed by hand to see what the tools say, `host-15.1` is what the host ran in tests/freebsd.
    """
    with open(os.path.join(RECORDINGS, f"{name}.json"), encoding="utf-8") as file:
        entries = json.load(file)["entries"]
    return [(entry["argv"], entry.get("stdin", "").encode(), _result(entry)) for entry in entries]


def _result(entry: dict[str, Any]) -> Result:
    return Result(entry["rc"], entry["stdout"].encode(), entry["stderr"].encode())


def failure(text: str, status: int = 1) -> Result:
    return Result(status, b"", f"{text}\n".encode())


class FakePrograms:
    """The tools of one machine. kernel: where jails appear; calls: what was run."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.calls: list[list[str]] = []
        self.answers: dict[str, Result | OSError] = {}  # by argv[0]: instead of what the tool would do
        self.rulesets = kernel.rulesets
        self.rulesets |= {
            1: ["hide"],
            2: ["path null unhide", "path zero unhide"],
            3: ["path fd unhide"],
            4: ["include 1", "include 2", "include 3", "path fuse unhide", "path zfs unhide"],
            5: ["include 4"],
        }
        self.interfaces: dict[str, list[str]] = {
            "lo0": [
                "inet 127.0.0.1 netmask 0xff000000",
                "inet6 ::1 prefixlen 128",
                "inet6 fe80::1%lo0 prefixlen 64 scopeid 0x2",
            ]
        }
        self.inside: dict[str, int] = {}  # interfaces in jails
        self.datasets = {"tank/data": "on", "tank/plain": "off"}  # to their property jailed
        self.jailed: dict[str, int] = {}  # datasets that jails have

    def run(self, argv: Sequence[str], *, input: bytes = b"", **_limits: object) -> Result:
        """Answer like the tool."""
        assert argv[0].startswith("/"), "tools are run by absolute path: callers may leave us without PATH"
        self.calls.append(list(argv))
        answer = self.answers.get(argv[0])
        if isinstance(answer, OSError):
            raise answer
        if answer:
            return answer
        tools = {"devfs": self.devfs, "ifconfig": self.ifconfig, "jail": self.jail, "zfs": self.zfs}
        tool = tools[os.path.basename(argv[0])]
        return tool(list(argv[1:]), input)

    # -- devfs

    def devfs(self, words: list[str], input: bytes) -> Result:
        if words == ["rule", "showsets"]:
            return Result(0, "".join(f"{number}\n" for number in sorted(self.rulesets)).encode())
        assert words[:2] == ["rule", "-s"]
        number, verb, rest = int(words[2]), words[3], words[4:]
        if verb == "show":
            rules = self.rulesets.get(number, [])
            return Result(0, "".join(f"{100 * (i + 1)} {rule}\n" for i, rule in enumerate(rules)).encode())
        if verb == "delset":
            self.rulesets.pop(number, None)
            return Result(0)
        assert verb == "add"
        for rule in input.decode().splitlines() if rest == ["-"] else [" ".join(rest)]:
            refused = self._check_rule(rule)
            if refused:
                return failure(refused)
            self.rulesets.setdefault(number, []).append(rule)
        return Result(0)

    def shows(self, number: int, node: str, depth: int = 1) -> bool | None:
        """Say whether a ruleset shows a node. Includes are followed one deep: vfs.devfs.rule_depth is 1."""
        shown = None
        for words in (rule.split() for rule in self.rulesets.get(number, [])):
            if words[0] == "include":
                inner = self.shows(int(words[1]), node, depth - 1) if depth else None
                shown = shown if inner is None else inner
            elif words[0] != "path" or words[1] == node:
                shown = "unhide" in words
        return shown

    def _check_rule(self, rule: str) -> str:
        words = rule.split()
        while words:
            word = words.pop(0)
            if word not in RULE_WORDS:
                return f"devfs rule: unknown argument: {word}"
            values, words = words[: RULE_WORDS[word]], words[RULE_WORDS[word] :]
            if word == "mode" and values[0].strip("01234567"):
                return f"devfs rule: invalid mode: {values[0]}"
            if word == "include" and int(values[0]) not in self.rulesets:
                return "devfs rule: ioctl DEVFSIO_RADD: No such process"
        return ""

    # -- ifconfig

    def ifconfig(self, words: list[str], input: bytes) -> Result:
        if words[0] == "-j":
            return Result(0) if self._jid(words[1]) else failure("ifconfig: jail not found: No such file or directory")
        name, rest = words[0], words[1:]
        if rest[:1] == ["-vnet"]:
            return self._fetch(name, rest[1])
        if name not in self.interfaces or name in self.inside:
            return failure(f"ifconfig: interface {name} does not exist")
        if rest[:1] == ["vnet"]:
            self.inside[name] = self._jid(rest[1])
            return Result(0)
        if len(rest) < 2:
            return Result(0, self._listing(name, rest))
        family, address, change = rest
        if change == "alias":
            bare, _, prefix = address.partition("/")
            self.interfaces[name].append(f"{family} {bare} {'netmask' if family == 'inet' else 'prefixlen'} {prefix}")
        else:
            self.interfaces[name] = [line for line in self.interfaces[name] if line.split()[:2] != [family, address]]
        return Result(0)

    def _listing(self, name: str, families: list[str]) -> bytes:
        lines = [line for line in self.interfaces[name] if not families or line.split()[0] in families]
        return "\n\t".join([f"{name}: flags=1008049<UP,LOOPBACK,RUNNING>", "options=680003", *lines, ""]).encode()

    def _jid(self, text: str) -> int:
        return next((jid for jid, (name, _) in self.kernel.jails.items() if text in (str(jid), name)), 0)

    def _fetch(self, name: str, jail: str) -> Result:
        jid = self._jid(jail)
        if not jid:
            return failure(f"ifconfig: jail {jail} not found")
        if self.inside.pop(name, 0) != jid:
            return failure(f"ifconfig: SIOCSIFRVNET({jid}, {name}): Device not configured")
        return Result(0)

    # -- zfs: words of freebsd-observed, 11.1 and 11.3

    def zfs(self, words: list[str], input: bytes) -> Result:
        dataset = words[-1]
        if dataset not in self.datasets:
            return failure(f"cannot open '{dataset}': dataset does not exist")
        if words[0] == "get":
            return Result(0, f"{self.datasets[dataset]}\n".encode())
        verb, jail = words[:2]
        if not self._jid(jail):
            return failure("invalid jail id or name", 2)
        if verb == "jail":
            if dataset in self.jailed:
                return failure(f"cannot jail '{dataset}': dataset already exists")
            self.jailed[dataset] = self._jid(jail)
            return Result(0)
        if self.jailed.pop(dataset, 0):
            return Result(0)
        return failure(f"cannot unjail '{dataset}': no such pool or dataset")

    # -- jail

    def jail(self, words: list[str], input: bytes) -> Result:
        options = [word for word in words if word in ("-q", "-i", "-c")]
        params = dict(word.partition("=")[::2] for word in words[len(options) :])
        refused = self._check_jail(params)
        if refused:
            return failure(f"jail: {refused}")
        taken = next((jid for jid, (name, _) in self.kernel.jails.items() if name == params["name"]), 0)
        if taken:
            return failure(f'jail: "{taken}" already exists')
        jid = int(params["name"]) if params["name"].isdigit() else max(self.kernel.jails, default=1164) + 1
        self.kernel.jails[jid] = (params["name"], os.path.realpath(params["path"]))
        return Result(0, f"{jid}\n".encode() if "-i" in options else b"")

    def _check_jail(self, params: dict[str, str]) -> str:
        name, _, last = params["name"].rpartition(".")
        unknown = [key for key in params if key not in PARAMETERS and not key.startswith(("meta.", "env."))]
        if unknown:
            return f"unknown parameter: {unknown[0]}"
        if params["path"].startswith("/nonexistent"):
            return f"path {params['path']}: No such file or directory"
        if last.isdigit() and last.startswith("0"):
            return "name cannot be numeric (unless it is the jid)"
        if name and name not in [jail for jail, _ in self.kernel.jails.values()]:
            return f'jail "{name}" not found'
        if params.get("enforce_statfs", "2") not in ("0", "1", "2"):
            return "jail_set: Invalid argument"
        if "vnet" in params and "ip4.addr" in params:
            return "vnet jails cannot have IP address restrictions"
        if params.get("ip4.addr", "").startswith("999"):
            return f"ip4.addr: not an IPv4 address: {params['ip4.addr']}"
        return ""
