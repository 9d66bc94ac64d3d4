"""The foreground run: what its options change, what it keeps, and signals before the program runs."""

import json
import signal
import subprocess

import pytest

from tests.support.container.harness import Life, tree, until
from tests.support.program import Bundle, own_words


def test_run_changes_the_document(life: Life) -> None:
    """A command after --, more environment, a volume: what people want without editing JSON."""
    source = life.path / "source"
    source.mkdir()
    (source / "file").write_text("of the host\n")
    script = 'cat /data/file; echo "$MORE"; (echo x > /data/new) 2>/dev/null || echo read-only'
    result = life.runjail.ok(
        "run",
        "-b",
        life.bundle.write(),
        "-e",
        "MORE=yes",
        "-v",
        f"{source}:/data:ro",
        "c",
        "--",
        "/bin/sh",
        "-c",
        script,
    )

    assert result.stdout == "of the host\nyes\nread-only\n"
    assert not (life.bundle.rootfs / "data").exists()


def test_run_detached_and_kept(life: Life) -> None:
    """-d returns at once, --keep leaves a stopped container."""
    life.runjail.ok("run", "-d", "-b", life.bundle.write(), "c")
    assert life.runjail.state("c")["status"] == "running"
    life.runjail.ok("delete", "-f", "c")
    life.runjail.ok("run", "--keep", "-b", life.bundle.write("/bin/sh", "-c", "exit 0"), "c")

    assert life.runjail.state("c")["status"] == "stopped"


@pytest.mark.parametrize("readonly", [False, True])
def test_a_root_that_is_a_link_is_what_it_led_to_at_create(life: Life, readonly: bool) -> None:
    """Also for `delete`, when the link leads elsewhere then; runc refuses such a root, crun and ocijail follow it."""
    link, before = life.path / "link", tree(life.bundle.rootfs)
    link.symlink_to("rootfs")
    life.bundle.config["root"] = {"path": "link", "readonly": readonly}
    if not readonly:
        life.bundle.config["mounts"].append({"destination": "/made/here", "type": "tmpfs", "source": "tmpfs"})
    life.start("/bin/sleep", "600")
    link.unlink()
    link.symlink_to("/")

    assert life.runjail.state("c")["rootfs"] == str(life.bundle.rootfs)
    assert life.runjail.ok("exec", "c", "/bin/echo", "here").stdout == "here\n"
    life.runjail.ok("delete", "--force", "c")
    assert tree(life.bundle.rootfs) == before
    life.gone()


@pytest.mark.parametrize("broken", [{"env": 5}, {"env": "A"}, {"args": {}}, {"user": []}, {"process": 1}], ids=str)
def test_run_with_options_and_a_bad_document(life: Life, bundle: Bundle, broken: dict[str, object]) -> None:
    """Options are put into the document before it is checked; what was wrong before is still said properly."""
    if "process" in broken:
        bundle.config.update(broken)
        (bundle.path / "config.json").write_text(json.dumps(bundle.config))
    else:
        bundle.write(**broken)
    result = life.runjail("run", "-e", "A=b", "-v", "/etc:/data", "-b", str(bundle.path), "c")

    assert result.returncode == 1
    assert result.stderr.startswith("runjail: invalid config.json: process"), result


@pytest.mark.parametrize("moment", ["creating", "starting"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_before_the_program_runs(life: Life, moment: str, number: signal.Signals) -> None:
    """run ends without a word about internals, and takes everything back."""
    kind = "createRuntime" if moment == "creating" else "startContainer"
    where = life.path / "there" if moment == "creating" else life.bundle.rootfs / "var" / "there"
    inside = str(where) if moment == "creating" else "/var/there"
    script = f"touch {inside}; sleep 1"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}
    life.bundle.config["hooks"] = {kind: [hook]}
    command = [life.runjail.program, "--root", str(life.runjail.root), "run", "-b", life.bundle.write(), "c"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until(where.exists)
    process.send_signal(number)
    said = process.communicate(timeout=120)[1]

    assert process.returncode == 128 + number
    assert own_words(said.decode()).startswith("runjail: ") and b"internal" not in said
    life.gone()
