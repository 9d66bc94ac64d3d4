"""A plan as people read it. The scripts themselves are compared in tests/bundles."""

import shlex
import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from runjail import steps
from runjail.plan.quoting import comment, conf_value, shell_line
from runjail.plan.show import as_data, as_text
from runjail.plan.show_freebsd import jail_conf
from runjail.spec.model import DeviceRule, Hook, Hooks, Jail, Linux, Mount, Process, Resources, Rlimit, User
from tests.support.plan.conf_reader import read_conf
from tests.support.plan.specs import plan_of, spec_of

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
LINES = settings(max_examples=200)


@given(st.lists(WORDS, min_size=1, max_size=5))
@LINES
def test_shell_words_stay_what_they_are(words: list[str]) -> None:
    assert shlex.split(shell_line(*words)) == words


@given(st.lists(WORDS, min_size=1, max_size=4))
@settings(max_examples=30)
def test_a_shell_reads_them_back(words: list[str]) -> None:
    command = shell_line("printf", "%s\\0", *words)
    found = subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout

    assert found.split(b"\0")[:-1] == [word.encode() for word in words]


@given(WORDS, st.lists(WORDS, min_size=1, max_size=3))
@LINES
def test_jail_conf_reads_back_what_was_written(name: str, values: list[str]) -> None:
    step = steps.CreateJail(name, (("name", name), ("path", values[0]), ("persist", None)))

    assert read_conf("\n".join(jail_conf(step))) == (name, [("path", [values[0]]), ("persist", None)])
    assert "\n" not in conf_value(values[0])


@given(WORDS)
@LINES
def test_a_comment_is_one_line(text: str) -> None:
    assert comment(text).startswith("# ")
    assert len(comment(text).splitlines()) == 1


def test_lists_of_addresses_are_lists() -> None:
    step = steps.CreateJail("web", (("name", "web"), ("ip4.addr", "10.0.0.1,10.0.0.2"), ("path", "/a,b")))

    assert read_conf("\n".join(jail_conf(step)))[1] == [("ip4.addr", ["10.0.0.1", "10.0.0.2"]), ("path", ["/a,b"])]


def test_the_way_back_goes_in_reverse() -> None:
    spec = spec_of(
        Mount("/dev", "devfs", "", ("rule=path pf unhide",)),
        Mount("/t", "tmpfs"),
        jail=Jail(vnet="new", vnet_interfaces=("epair0b",)),
        linux=Linux(resources=Resources(pids_limit=5)),
    )
    back = as_text(plan_of(spec), spec).partition("# runjail delete\n")[2]

    assert back.splitlines() == [
        "# ifconfig epair0b -vnet web",
        "# rctl -r jail:web",
        "# jail -R web",
        "# umount /b/rootfs/t",
        "# umount /b/rootfs/dev",
        "# devfs rule -s 1000 delset",
    ]


def test_a_private_ruleset_is_a_copy_and_not_an_inclusion() -> None:
    """devfs follows inclusions one level deep: a set that includes set 4 would hide nothing of what 4 inherits."""
    spec = spec_of(Mount("/dev", "devfs", "", ("rule=path pf unhide",)))
    text = as_text(plan_of(spec), spec)

    assert "devfs rule -s 4 show | devfs rule -s 1000 add -\ndevfs rule -s 1000 add path pf unhide\n" in text
    assert "include" not in text


def test_every_device_and_one_more_rule_starts_from_nothing() -> None:
    spec = spec_of(Mount("/dev", "devfs", "", ("ruleset=0", "rule=path pf hide")))
    text = as_text(plan_of(spec), spec)

    assert " show " not in text and "devfs rule -s 1000 add path pf hide\n" in text


def test_the_process_and_hooks_are_shown_where_they_run() -> None:
    hooks = Hooks(
        create_runtime=(Hook("/bin/net", ("net", "up")),),
        start_container=(Hook("/bin/warm"),),
        poststop=(Hook("/bin/net", ("net", "down now")),),
    )
    process = Process(("/bin/x", "a b"), "/w", ("A=1",), user=User(5, 6), rlimits=(Rlimit("RLIMIT_NOFILE", 10, 20),))
    spec = spec_of(hooks=hooks, process=process)
    lines = as_text(plan_of(spec), spec).splitlines()

    tail = lines[lines.index("EOF") + 1 :]
    assert tail == [
        "# hook createRuntime: /bin/net up",
        "",
        "# runjail start",
        "# hook startContainer, inside the jail: /bin/warm",
        "# as user 5, group 6, which jexec cannot do by number",
        "# limit RLIMIT_NOFILE: 10, at most 20",
        "env -i A=1 /usr/sbin/jexec -d /w web /bin/x 'a b'",
        "",
        "# runjail delete",
        "# jail -R web",
        "# hook poststop: /bin/net 'down now'",
    ]


def test_a_linux_plan_is_a_list_of_its_steps() -> None:
    spec = spec_of(
        Mount("/v", "bind", "/data", ("rbind", "ro")),
        hostname="h",
        process=Process(("/bin/sh", "-c", "a\nb")),
        linux=Linux(
            resources=Resources(pids_limit=5),
            device_rules=(DeviceRule(True), DeviceRule(False, "b", 254)),
            masked_paths=("/proc/kcore",),
            readonly_paths=("/proc/sys",),
        ),
    )

    assert as_text(plan_of(spec, "linux"), spec).splitlines() == [
        "container web: /b/rootfs in Linux namespaces",
        "  1 outside control group runjail/web pids_limit=5 every device but b 254:* rwm",
        "  2 inside  new namespaces pid mount ipc uts, hostname h",
        "  3 inside  mount bind /data on /v (ro,recursive)",
        "  4 inside  hide /proc/kcore; read-only /proc/sys",
        "    then    /bin/sh -c 'a\\nb'",
    ]


def test_data_for_programs_names_each_step() -> None:
    spec = spec_of(Mount("/t", "tmpfs", "", ("size=1m",)), process=Process(("/bin/sh",)))
    data = as_data(plan_of(spec), spec)

    assert [step["step"] for step in data["steps"]] == ["Mount", "CreateJail"]
    assert data["steps"][0]["data"] == [["size", "1m"]]
    assert data["steps"][1]["params"][2] == ["persist", None]
    assert data["process"]["args"] == ["/bin/sh"]
