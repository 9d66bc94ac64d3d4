"""A machine made of stub programs: each logs how it was called and keeps what it changed in files."""

import os
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]
PROVISION = TOP / "vagrant" / "provision.sh"

# State below $STATE: a file is a fact. A file fail-NAME makes the program NAME fail with its text.
COMMON = """\
#!/bin/sh
name=${0##*/}
printf '%s' "$name" >>"$STATE/log"
for word; do printf ' %s' "$word" >>"$STATE/log"; done
echo >>"$STATE/log"
fail() { echo "$*" >&2; exit 1; }
case $name-$1 in sysrc--n | pkg-info | zpool-list) ;; # questions are answered, whatever else fails
*)
    [ ! -e "$STATE/fail-$name" ] || fail "$(cat "$STATE/fail-$name")" ;;
esac
"""
STUBS = {
    "uname": 'case $1 in -s) cat "$STATE/system" ;; -r) cat "$STATE/release" ;; esac',
    "id": 'cat "$STATE/uid"',
    "python3": """\
        case "$*" in
        -V) echo "Python 3.9.1" ;;
        *py%d%d*) echo py311 ;;
        *version_info*) [ ! -e "$STATE/old-python" ] ;;
        esac""",
    "pkg": """\
        mkdir -p "$STATE/packages"
        case $1 in
        info) [ -e "$STATE/packages/$3" ] ;;
        install)
            [ "$ASSUME_ALWAYS_YES" = yes ] || fail "pkg would ask"
            : >"$STATE/packages/$3"
            [ "$3" != python3 ] || mv "$STATE/../python3" "${0%/*}/python3"
            ;;
        *) fail "pkg: unknown command $1" ;;
        esac""",
    "sysctl": """\
        case "$*" in
        "-n kern.racct.enable") [ -e "$STATE/racct" ] || fail "sysctl: unknown oid"; cat "$STATE/racct" ;;
        *) fail "sysctl: unknown oid" ;;
        esac""",
    "sysrc": """\
        # The real one refuses names with a dot.
        case ${1%%=*} in *.*) fail "sysrc: ${1%%=*}: name contains characters not allowed in shell" ;; esac
        mkdir -p "$STATE/rc"
        case $1 in
        -n) cat "$STATE/rc/$2" 2>/dev/null || fail "sysrc: unknown variable '$2'" ;;
        *=*) echo "${1#*=}" >"$STATE/rc/${1%%=*}" ;;
        esac""",
    "kldstat": '[ "$1 $2" = "-q -m" ] && [ -e "$STATE/modules/$3" ]',
    "kldload": """\
        mkdir -p "$STATE/modules"
        [ ! -e "$STATE/modules/$1" ] || fail "kldload: can't load $1: module already loaded or in kernel"
        : >"$STATE/modules/$1\"""",
    "devfs": """\
        [ "$*" = "rule -s 4 show" ] || fail "devfs: $*"
        [ ! -e "$STATE/rulesets" ] || echo "100 include 1\"""",
    "service": """\
        case "$*" in
        "devfs restart") : >"$STATE/rulesets" ;;
        "linux start") mkdir -p "$STATE/modules"
            for m in linux64elf linprocfs linsysfs; do : >"$STATE/modules/$m"; done ;;
        *) fail "$1 does not exist in /etc/rc.d" ;;
        esac""",
    "zpool": """\
        mkdir -p "$STATE/pools"
        case $1 in
        list) [ -e "$STATE/pools/$5" ] || fail "cannot open '$5': no such pool"; echo "$5" ;;
        create) [ -e "$3" ] || fail "cannot open '$3': No such file"; : >"$STATE/pools/$2" ;;
        import) [ -e "$3" ] || fail "cannot import '$4': no such pool available"; : >"$STATE/pools/$4" ;;
        *) fail "zpool: $*" ;;
        esac""",
    "truncate": '[ "$1" = -s ] && : >"$3"',
    # What must never be called: the network, disks, a shutdown.
    **dict.fromkeys(("fetch", "curl", "wget", "mdconfig", "shutdown", "reboot", "mount", "zfs"), "exit 99"),
}


class FakeMachine:
    """A FreeBSD 15.1 as it is after installation: no packages, no modules, racct off, rulesets loaded."""

    def __init__(self, directory: Path) -> None:
        self.state, self.root = directory / "state", directory / "root"
        self.loader_conf = self.root / "boot" / "loader.conf"
        self.pool_file = self.root / "var" / "db" / "tank.zpool"
        programs = directory / "programs"
        for path in (self.state, self.loader_conf.parent, self.pool_file.parent, programs):
            path.mkdir(parents=True)
        for name, body in STUBS.items():
            (programs / name).write_text(COMMON + body + "\n")
            (programs / name).chmod(0o755)
        (programs / "python3").rename(directory / "python3")  # comes with its package
        for tool in ("sh", "env", "sed", "grep", "cat", "mkdir", "dirname", "rm", "mv"):
            (programs / tool).symlink_to(f"/bin/{tool}" if os.path.exists(f"/bin/{tool}") else f"/usr/bin/{tool}")
        self.programs = programs
        for name, text in {"system": "FreeBSD", "release": "15.1-RELEASE-p4", "uid": "0", "racct": "0"}.items():
            self.set(name, text)
        self.set("rulesets")
        self.set("rc/devfs_load_rulesets", "YES")

    def set(self, name: str, text: str = "") -> None:
        """State a fact."""
        path = self.state / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n")

    def provision(self, **env: str) -> subprocess.CompletedProcess[str]:
        """Run provision.sh with nothing but stubs and a few harmless tools in reach."""
        variables = {"PATH": str(self.programs), "STATE": str(self.state), "PROVISION_ROOT": str(self.root), **env}
        return subprocess.run(
            ["/bin/sh", str(PROVISION)], env=variables, capture_output=True, text=True, check=False, timeout=60
        )

    def calls(self) -> list[str]:
        """Return what was called since the last time."""
        log = self.state / "log"
        text = log.read_text() if log.exists() else ""
        log.write_text("")
        return text.splitlines()

    def files(self) -> dict[str, bytes]:
        """Return everything the machine consists of, but the log."""
        found = [path for top in (self.state, self.root) for path in top.rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in found if path.name != "log"}


def is_question(call: str) -> bool:
    """Tell whether a logged call only asked."""
    asks = ("uname ", "id ", "pkg info", "sysctl -n", "sysrc -n", "kldstat ", "devfs rule -s 4 show", "zpool list")
    return call.startswith((*asks, "python3 "))
