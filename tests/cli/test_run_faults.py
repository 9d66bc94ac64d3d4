"""Options of `run --image` before anything is fetched, on both systems: what is taken, and what is told of the rest."""

import pytest

from runjail.cli import run_faults, run_options
from runjail.cli.args import GLOBALS, Args, parse
from runjail.cli.process import volume_mounts
from runjail.cli.verbs import run
from runjail.errors import HostError, UsageError
from runjail.host.linux import security_labels

HOSTS = [("freebsd", "host"), ("freebsd", "none"), ("freebsd", "web"), ("linux", "host"), ("linux", "private")]
MOUNTS = "-v data:/data -v /etc:/x:ro --mount type=volume,src=v,dst=/v --mount type=bind,src=/etc,dst=/b,ro"


def check(line: str, host: str, network: str) -> None:
    args = Args((*run.OPTIONS, *GLOBALS))
    parse([*line.split(), "web"], args, 1, late=True)
    found = run_options.options_of(args, host)
    run_faults.check(args, found, volume_mounts(args.many("volume")), network, host)


@pytest.mark.parametrize(("host", "network"), HOSTS)
@pytest.mark.parametrize(
    "line",
    [
        MOUNTS,
        "--tmpfs /t --tmpfs /u:size=5m,mode=700,uid=5,ro,exec,notmpcopyup",
        "-h web -e A=b -e NOSUCH -m 5m --cpus 1.5 --cpuset-cpus 0 --pids-limit 5",
        "--ulimit nofile=5 --ulimit core=-1 -u 5:6 -w /srv",
        "-v /etc:/x:rprivate,nodev",
    ],
)
def test_what_is_right_is_taken(host: str, network: str, line: str) -> None:
    check(line, host, network)


@pytest.mark.parametrize(("host", "network"), HOSTS)
@pytest.mark.parametrize(
    ("line", "text"),
    [
        (f"{MOUNTS} -v /etc:/", "--volume /etc:/: nothing can be mounted on the root itself"),
        (f"--tmpfs / {MOUNTS}", "--tmpfs /: nothing can be mounted on the root itself"),
        ("-h ä", "--hostname 'ä': must be printable ASCII"),
        ("-e A=b -e =c", "--env '=c': must be NAME=VALUE"),
        ("--cpuset-cpus x", "--cpuset-cpus x: must be a list such as 0-2,5"),
        ("--ulimit nofile=1 --ulimit nofile=2", "--ulimit nofile=2: RLIMIT_NOFILE limits the same"),
    ],
)
def test_what_is_wrong_is_told_of_the_option(host: str, network: str, line: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(line, host, network)

    assert str(caught.value).startswith(text)


def test_a_limit_of_the_other_system() -> None:
    """A hint names those that there are."""
    for host, name, other in (("linux", "kqueues", "locks"), ("freebsd", "locks", "kqueues")):
        with pytest.raises(UsageError, match=f"has no limit '{name}'") as caught:
            check(f"--ulimit {name}=1", host, "host")
        assert caught.value.hint and other in caught.value.hint


@pytest.mark.parametrize(
    ("line", "text", "option"),
    [
        (
            "--security-opt apparmor=ours",
            "apparmor: not supported",
            "--security-opt apparmor=ours: apparmor: not supported",
        ),
        ("--security-opt label=type:x", "selinux label is odd", "--security-opt label=type:x: selinux label is odd"),
        ("-v /etc:/x", "mounts[1].source: mounting /etc: no", "--volume /etc:/x: mounting /etc: no"),
        ("-v /etc:/x", "mounts[0].source: mounting proc: no", "mounts[0].source: mounting proc: no"),
        ("-v /etc:/x", "apparmor: not supported", "apparmor: not supported"),
    ],
)
def test_what_fails_later_is_told_of_the_option(line: str, text: str, option: str) -> None:
    """Only the kernel knows some of it."""
    args = Args((*run.OPTIONS, *GLOBALS))
    parse([*line.split(), "web"], args, 1, late=True)

    assert run_faults.told(text, args, [{"destination": "/proc"}, {"destination": "/x"}]) == option


def test_a_label_needs_selinux_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security_labels, "SELINUX", "/nowhere")
    with pytest.raises(HostError, match=r"^--security-opt label=type:x: selinux label is specified in config, but"):
        check("--security-opt label=type:x", "linux", "host")
    monkeypatch.setattr(security_labels, "SELINUX", "/")
    check("--security-opt label=type:x", "linux", "host")


def test_what_is_of_no_option_is_not_told_here() -> None:
    """The whole document is checked later."""
    assert run_faults.reworded("root.path: is odd", {"mounts[0]": "--tmpfs /x"}) == "root.path: is odd"
