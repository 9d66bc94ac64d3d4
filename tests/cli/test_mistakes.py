"""What people mistype, with the exact answer: what, where, why, and what to do."""

import os
from pathlib import Path

import pytest

from runjail.cli.args import GLOBALS, Args, parse
from runjail.cli.context import Context
from runjail.cli.image.session import ImageSession
from runjail.errors import UsageError
from tests.support.program import Bundle, Runjail

USAGE = "hint: usage: runjail"
ID_RULE = "hint: 1 to 255 letters of ASCII, digits and _ + . - make an id, but not . or .."
MISTAKES = {  # command line: exit code and lines after `runjail: `
    "strat web": (1, "unknown command 'strat'", "hint: did you mean stats or state or start?"),
    "star web": (1, "unknown command 'star'", "hint: did you mean start?"),
    "pull alpine": (1, "unknown command 'pull'", "hint: did you mean image pull?"),
    "image pul x": (1, "unknown command 'image pul'", "hint: did you mean image pull or image push or image ls?"),
    "images": (1, "unknown command 'images'", "hint: did you mean image ls?"),
    "ls": (1, "unknown command 'ls'", "hint: did you mean list or image ls?"),
    "rm web": (1, "unknown command 'rm'", "hint: did you mean delete or image rm?"),
    "rmi alpine": (1, "unknown command 'rmi'", "hint: did you mean image rm?"),
    "load -i x.tar": (1, "unknown command 'load'", "hint: did you mean image import?"),
    "stop web": (1, "unknown command 'stop'", "hint: did you mean kill?"),
    "unpause web": (1, "unknown command 'unpause'", "hint: did you mean resume?"),
    "restart web": (
        1,
        "unknown command 'restart'",
        "hint: a container runs once; run -d --restart starts its program again when it ends",
    ),
    "attach web": (1, "container does not exist: web"),
    "attach --detach-keys ctrl-1 web": (
        1,
        "--detach-keys: not a key: 'ctrl-1'",
        "hint: ctrl- goes with a-z and one of @[\\]^_",
    ),
    "attach --sig-proxy no web": (1, "--sig-proxy: not true or false: 'no'"),
    "build .": (
        1,
        "unknown command 'build'",
        "hint: podman and buildah build images; runjail image import takes them",
    ),
    "info": (1, "unknown command 'info'", "hint: runjail check says what works on this machine"),
    "port web": (1, "unknown command 'port'", "hint: runjail inspect shows published ports"),
    "version": (1, "unknown command 'version'", "hint: runjail --version"),
    "image list": (1, "unknown command 'image list'", "hint: did you mean image ls?"),
    "image rmi x": (1, "unknown command 'image rmi'", "hint: did you mean image rm?"),
    "network remove x": (1, "unknown command 'network remove'", "hint: did you mean network rm?"),
    "volume list": (1, "unknown command 'volume list'", "hint: did you mean volume ls?"),
    "run alpine sh": (
        1,
        "invalid config.json: HERE/config.json is missing",
        "hint: run --image NAME ID runs an image; -b names the directory of a bundle, which is here otherwise",
    ),
    "kill -s TERM web INT": (1, "kill: one signal, not TERM and INT"),
    "kill -s LOUD web": (1, 'unknown signal "LOUD"'),
    "image pull https://example.com/x": (
        1,
        "'https://example.com/x': not a registry's host: 'https:'",
        "hint: without the scheme: HOST/NAME:TAG; --insecure allows http",
    ),
    "network create --subnet 10.0.0.0 x": (
        1,
        "--subnet: 10.0.0.0 has no addresses for containers",
        "hint: such as 10.88.1.0/24",
    ),
    "xyzzy": (1, "unknown command 'xyzzy'"),
    "list --quite": (1, "unknown option --quite", "hint: did you mean --quiet?"),
    "run --imag x": (1, "unknown option --imag", "hint: did you mean --image?"),
    "create --detach=maybe x": (1, "unknown option --detach=maybe"),
    "list --quiet=maybe": (1, "option --quiet is a flag, not 'maybe'"),
    "exec --cap": (255, "option --cap needs a value"),
    "--root": (1, "option --root needs a value"),
    "create": (1, "create takes ID, got 0", f"{USAGE} create ID"),
    "create a b": (1, "create takes ID, got 2", f"{USAGE} create ID"),
    "create a/b": (1, "invalid container ID format: 'a/b'", ID_RULE),
    "create ..": (1, "invalid container ID format: '..'", ID_RULE),
    "create é": (1, "invalid container ID format: 'é'", ID_RULE),
    "create a\x1b[31m": (1, "invalid container ID format: 'a\\x1b[31m'", ID_RULE),
    "create -b /nonexistent web": (1, "invalid config.json: /nonexistent/config.json is missing"),
    "create --preserve-fds x a": (1, "--preserve-fds: not a number of descriptors: 'x'"),
    "start": (1, "start takes ID, got 0", f"{USAGE} start ID"),
    "start web": (1, "container does not exist: web"),
    "state web": (1, "container does not exist: web"),
    "kill web": (1, "container does not exist: web"),
    "kill web 200": (1, "unknown signal '200'"),
    "delete web": (1, "container does not exist: web"),
    "pause web": (1, "container does not exist: web"),
    "exec web": (255, "exec needs --process or a command", f"{USAGE} exec [OPTIONS] ID CMD..."),
    "exec web true": (255, "container does not exist: web"),
    "exec -p /nonexistent web": (255, "invalid process document: /nonexistent is missing"),
    "list --format yaml": (1, "--format: not table or json: 'yaml'"),
    "list x": (1, "list takes no words, got 1", f"{USAGE} list"),
    "ps": (1, "ps takes ID OPTION..., got 0", f"{USAGE} ps ID OPTION..."),
    "events --interval 5 web": (1, "not a duration such as 5s or 100ms: '5'"),
    "events --interval 0s web": (1, "the interval must be above 0 and at most 24h: '0s'"),
    "update --memory x web": (1, "--memory: not a size: 'x'"),
    "update -r /nonexistent web": (1, "invalid resources document: /nonexistent is missing"),
    "run": (1, "run takes ID CMD..., got 0", f"{USAGE} run ID CMD..."),
    "run --hostname x web": (1, "--hostname needs --image: a bundle's config.json says that itself"),
    "run --tmpfs /x web": (1, "--tmpfs needs --image: a bundle's config.json says that itself"),
    "run --image x web --name app": (
        1,
        "run: a container has one id, not web and app",
        "hint: with --name, the command follows at once",
    ),
    "run -d --rm x": (
        1,
        "run: --rm and --detach exclude each other: nobody stays to delete it",
        "hint: runjail delete, once it has stopped",
    ),
    "run --log-driver none x": (1, "--log-driver and --log-opt need --detach: otherwise output goes to ours"),
    "run --log-opt max-size=1m x": (1, "--log-driver and --log-opt need --detach: otherwise output goes to ours"),
    "run -d --log-opt size=1 x": (1, "--log-opt: not max-size=BYTES or path=FILE: 'size=1'"),
    "run -d --log-driver journald x": (1, "--log-driver: not k8s-file, none or passthrough: 'journald'"),
    "run -d --image x --log-opt size=1 y": (1, "--log-opt: not max-size=BYTES or path=FILE: 'size=1'"),
    "logs web": (1, "container does not exist: web"),
    "logs --tail some web": (1, "--tail: not a number from 0 to 2147483648: 'some'"),
    "logs --since noon web": (
        1,
        "--since: not a time: 'noon'",
        "hint: such as 10m, 2026-11-30T12:00:00Z or 1700000000",
    ),
    "wait web": (1, "container does not exist: web"),
    "wait": (1, "wait takes ID MORE..., got 0", f"{USAGE} wait ID MORE..."),
    "top web": (1, "container does not exist: web"),
    "top web 5": (
        1,
        "top: not a column of ps(1): '5'",
        "hint: such as user, pid, ppid, pcpu, etime, tty, time, args",
    ),
    "stats web": (1, "container does not exist: web"),
    "stats --format yaml": (1, "--format: not table or json: 'yaml'"),
    "plan --os plan9": (1, "--os: not freebsd or linux: 'plan9'"),
    "nri lss": (1, "nri takes ls or check, not 'lss'"),
    "nri": (1, "nri takes ls|check, got 0", f"{USAGE} nri ls|check"),
    "checkpoint x": (1, "checkpoint and restore are not supported: a jail cannot be frozen to disk"),
    "completion tcsh": (1, "completion takes sh, bash, zsh or fish, not 'tcsh'"),
    "--log-format xml list": (1, "--log-format: not text or json: 'xml'"),
    "--log-level loud list": (1, "--log-level: not one of debug, info, warning, error: 'loud'"),
    "--log /nonexistent/x list": (1, "opening log /nonexistent/x: does not exist"),
    "image tag a": (1, "image tag takes SRC NAME, got 1", f"{USAGE} image tag SRC NAME"),
}
TMPFS = "hint: such as size=64m, mode=1777, uid=1000, nr_inodes=1k, ro, exec, notmpcopyup"
LIMITS = (
    "hint: one of as, core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, "
    "sigpending, stack"
)
SYSCTLS = (
    "hint: a container has of its own net.*, kernel.msg*, kernel.sem*, kernel.shm*, fs.mqueue.* and kernel.domainname; "
    "net.* with --network NAME"
)
IMAGE_MISTAKES = {  # options of run --image absent
    "--bundle /x": ("run takes --bundle or --image, not both",),
    "--network host --network none": ("--network: host and none stand alone, and a name stands once: host, none",),
    "--network slirp4netns --network none": ("--network slirp4netns stands alone: slirp4netns, none",),
    "-p 80:80:80": (
        "--publish: not an address before the ports: '80:80:80'",
        "hint: for example 8080:80, 127.0.0.1:8080:80, 5000-5002:5000-5002, 5353:53/udp",
    ),
    "--network none -p 80:80": (
        "--publish is of no use with --network none",
        "hint: --network NAME has ports of its own",
    ),
    "--volume data": ("--volume: not SRC:DST[:ro]: 'data'",),
    "--storage-opt size=x": ("--storage-opt: not size=BYTES, with k, m, g or t: 'size=x'",),
    "--tmpfs tmp": ("--tmpfs: not an absolute path: 'tmp'",),
    "--label =x": ("--label: not NAME=VALUE: '=x'",),
    "--ulimit nofile": ("--ulimit: not NAME=SOFT[:HARD]: 'nofile'", "hint: for example nofile=1024:4096"),
    "--memory much": ("--memory: not a size: 'much'",),
    "--cpus all": ("--cpus: not a number of processors: 'all'",),
    "--cpus inf": ("--cpus: not a number of processors: 'inf'",),
    "--pids-limit -2": ("--pids-limit: not a number from -1 to 4194304: '-2'",),
    "--mount type=image,dst=/x": (
        "--mount: type is not bind, tmpfs or volume: 'image'",
        "hint: for example type=bind,src=/a,dst=/b",
    ),
    "--mount type=volume,dst=/x": ("--mount: type=volume needs a source, the volume's name",),
    "--volume .:/x --volume a+b:/x": (
        "'a+b' cannot be the name of a volume",
        "hint: it begins with a letter or digit, and has 64 of these and _ . - at most; ./NAME is a directory here",
    ),
    "--mount type=bind,src=/nonexistent,dst=/x": ("--mount: the source /nonexistent does not exist",),
    "--mount type=bind,dst=/x": ("--mount: type=bind needs a source",),
    "--mount type=tmpfs,dst=x": ("--mount: destination must be an absolute path: 'type=tmpfs,dst=x'",),
    "--mount type=tmpfs,dst=/x,tmpfs-size=big": ("--mount: tmpfs-size: not a size: 'big'",),
    "--mount type=tmpfs,dst=/x,ro=perhaps": ("--mount: ro is true or false, not 'perhaps'",),
    "--mount type=tmpfs,dst=/x,uid=5": ("--mount: what is 'uid=5'?", "hint: man runjail has the words of --mount"),
    "--device null": ("--device: not HOST[:CONTAINER][:rwm]: 'null'", "hint: for example /dev/fuse"),
    "--add-host web": ("--add-host: not NAME:ADDRESS: 'web'",),
    "--add-host :1.2.3.4": ("--add-host: not NAME:ADDRESS: ':1.2.3.4'",),
    "--dns one.one": ("--dns: not an address: 'one.one'",),
    "--network none --dns 1.1.1.1": ("--dns is of no use with --network none",),
    "--security-opt no-new-privileges=maybe": ("--security-opt: no-new-privileges is true or false, not 'maybe'",),
    "--stop-signal LOUD": ('--stop-signal LOUD: unknown signal "LOUD"',),
    "--stop-signal 0": ("--stop-signal 0: 0 is no signal",),
    "--ulimit nofile=5:2": ("--ulimit nofile=5:2: the soft limit 5 is above the hard limit 2",),
    "--ulimit nofile=1x": ("--ulimit nofile: not a number from -1 to 9223372036854775807: '1x'",),
    "--ulimit nofile=5 --ulimit nofile=6": ("--ulimit nofile=6: RLIMIT_NOFILE limits the same as an earlier entry",),
    "--workdir etc": ("--workdir: must be an absolute path: 'etc'",),
    "--hostname ä": ("""--hostname 'ä': must be printable ASCII without blanks, not "\\u00e4\"""",),
    "--tmpfs /x:bogus": ("--tmpfs: 'bogus': not an option of tmpfs", TMPFS),
    "--tmpfs /x:size=big": (
        "--tmpfs: 'size=big': must be a number of bytes such as 65536, 64k, 512m or 1g",
        TMPFS,
    ),
    "--tmpfs /x:ro,mode=9": ("--tmpfs: 'mode=9': must be an octal mode such as 1777", TMPFS),
    "--tmpfs /": ("--tmpfs /: nothing can be mounted on the root itself",),
    "--mount type=tmpfs,dst=/": ("--mount type=tmpfs,dst=/: nothing can be mounted on the root itself",),
    "--volume /nonexistent:/x": ("--volume /nonexistent:/x: /nonexistent does not exist",),
    "--tmpfs /a --volume /etc:/": ("--volume /etc:/: nothing can be mounted on the root itself",),
    "--network container:x": ("--network: not host, none, pasta, slirp4netns or a network's name: 'container:x'",),
    "--env-file /nonexistent": ("--env-file /nonexistent: is missing",),
    "--env =x": ("""--env '=x': must be NAME=VALUE, not "=x\"""",),
    "--platform bogus": ("--platform bogus: not a platform such as freebsd/amd64: 'bogus'",),
    "-d --log-opt path=/nonexistent/x": ("--log-opt path: cannot write /nonexistent/x: its directory does not exist",),
    "-d --log-opt path=/etc": ("--log-opt path: /etc is a directory",),
    "--restart always": (
        "--restart needs --detach: in the foreground a container is deleted when its program ends",
        "hint: run -d, then runjail logs -f",
    ),
    "-d --restart often": (
        "--restart: not a policy: 'often'",
        "hint: no, always, unless-stopped, on-failure or on-failure:N",
    ),
    "--pull often": ("--pull: not always, missing or never: 'often'",),
    "--entrypoint []": ("--entrypoint: not a JSON list of words: '[]'",),
    "--entrypoint [1]": ("--entrypoint: not a JSON list of words: '[1]'",),
    "--pull never": ("image does not exist: docker.io/library/absent:latest",),
}
LINUX_MISTAKES = {
    "--device /nonexistent": ("--device: /nonexistent: does not exist",),
    "--device /etc/passwd": ("--device: /etc/passwd is not a device",),
    "--security-opt privileged": (
        "--security-opt: what is 'privileged'?",
        "hint: no-new-privileges, seccomp=, apparmor=, label=, mask= and unmask= are known",
    ),
    "--security-opt label=on": ("--security-opt: not label=disable or label=type:NAME: 'on'",),
    "--security-opt seccomp=/etc/passwd": (
        "--security-opt seccomp=/etc/passwd: not JSON: Expecting value: line 1 column 1 (char 0)",
    ),
    "--cap-add NOSUCH": (
        "--cap-add: unknown capability 'NOSUCH'",
        "hint: such as NET_ADMIN or CAP_NET_ADMIN; man 7 capabilities",
    ),
    "--ulimit foo=1": (
        "--ulimit foo=1: Linux has no limit 'foo'",
        LIMITS,
    ),
    "--sysctl foo.bar=1": ("--sysctl foo.bar=1: is not a setting that a container can have of its own", SYSCTLS),
    "--sysctl net.ipv4.ip_forward=1": ("--sysctl net.ipv4.ip_forward=1: needs a network namespace", SYSCTLS),
    "--device /dev/null:/etc/x": ("--device: the container has devices below /dev: '/dev/null:/etc/x'",),
    "--security-opt mask=etc": ("--security-opt mask: must be an absolute path: 'etc'",),
    "--security-opt seccomp=/nonexistent": ("--security-opt seccomp=/nonexistent: /nonexistent is missing",),
    "--volume /etc:/x:bogus": ("--volume /etc:/x:bogus: 'bogus': not an option of a bind mount",),
    "--cpuset-cpus many": (
        """--cpuset-cpus many: must be a list such as 0-2,5, not "many\"""",
        "hint: for example 0-2,5",
    ),
    "--sysctl kernel.x": ("--sysctl: not NAME=VALUE: 'kernel.x'",),
}


def answer(lines: tuple[str, ...]) -> str:
    """Return what is on standard error."""
    return f"runjail: {lines[0]}\n" + "".join(f"{line}\n" for line in lines[1:])


@pytest.mark.parametrize(("line", "expected"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_has_one_clear_answer(runjail: Runjail, line: str, expected: tuple[int, str]) -> None:
    code, *lines = expected

    result = runjail(*line.split())

    expected_text = answer(tuple(lines)).replace("HERE", os.getcwd())
    assert (result.returncode, result.stdout, result.stderr) == (code, "", expected_text)
    assert not runjail.root.exists()


@pytest.mark.needs("run --image")
@pytest.mark.parametrize(("line", "lines"), IMAGE_MISTAKES.items(), ids=IMAGE_MISTAKES)
def test_a_mistake_about_an_image_costs_nothing(
    runjail: Runjail, tmp_path: Path, line: str, lines: tuple[str, ...]
) -> None:
    """Nobody is asked for the image, and no bundle stays."""
    result = runjail("--store", f"dir:{tmp_path}/store", "run", "--image", "absent", *line.split(), "web")

    assert (result.returncode, result.stderr) == (1, answer(lines))
    assert list(tmp_path.glob("store/bundles/*")) == []


@pytest.mark.linux
def test_who_names_a_store_needs_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user; without a name there is no place for one."""
    for name in ("HOME", "XDG_DATA_HOME", "RUNJAIL_STORE"):
        monkeypatch.delenv(name, raising=False)
    for words in (["--store", f"dir:{tmp_path}/store"], []):
        parsed = Args(GLOBALS)
        parse(words, parsed)
        context = Context(parsed)
        context.ordinary = True
        session = ImageSession(Args(GLOBALS), context)
        if words:
            assert session.store.layers() == []
        else:
            with pytest.raises(UsageError, match="no directory for images"):
                session.store  # noqa: B018


@pytest.mark.linux
@pytest.mark.parametrize(("line", "lines"), LINUX_MISTAKES.items(), ids=LINUX_MISTAKES)
def test_a_mistake_about_linux(runjail: Runjail, tmp_path: Path, line: str, lines: tuple[str, ...]) -> None:
    test_a_mistake_about_an_image_costs_nothing(runjail, tmp_path, line, lines)


@pytest.mark.needs("containers")
@pytest.mark.parametrize(
    ("line", "document", "expected"),
    [
        ("exec -p", '{"args": "sh"}', "invalid process document: FILE: args: must be a list, not a string"),
        ("update -r", '{"memory": 5}', "invalid resources document: FILE: memory: must be an object, not a number"),
        ("update -r", "[]", "--resources FILE: not a JSON object"),
        ("update --memory 5m -r", '{"memory": 5}', "--resources FILE: memory is not an object"),
    ],
)
def test_the_shape_of_a_document(bundle: Bundle, runjail: Runjail, line: str, document: str, expected: str) -> None:
    """The error names the file, as that of a file without JSON does."""
    path = runjail.directory / "document"
    path.write_text(document)
    runjail.ok("run", "-d", "-b", bundle.write(), "web")

    result = runjail(*line.split(), str(path), "web")

    assert result.stderr.splitlines()[0].split("; ")[0] == f"runjail: {expected.replace('FILE', str(path))}"
    runjail.ok("delete", "-f", "web")


@pytest.mark.parametrize("verb", ["unpack", "inspect", "layerinfo"])
def test_a_mistyped_image_is_compared_with_the_store(runjail: Runjail, tmp_path: Path, verb: str) -> None:
    """A registry's error says nothing of what is here."""
    store, root = ("--store", f"dir:{tmp_path}/store"), tmp_path / "root"
    root.mkdir()
    runjail.ok(*store, "image", "import", f"rootfs:{root}", "localhost:1/hello")

    result = runjail(*store, "image", verb, "localhost:1/helo")

    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "hint: did you mean localhost:1/hello:latest?"


@pytest.mark.linux
def test_processors_that_are_not_there(runjail: Runjail, tmp_path: Path) -> None:
    """The kernel would say `numerical result out of range` when the container is half made."""
    online = Path("/sys/devices/system/cpu/online").read_text().strip()
    lines = (f"--cpuset-cpus 0,99999: this machine has processors {online}",)
    test_a_mistake_about_an_image_costs_nothing(runjail, tmp_path, "--cpuset-cpus 0,99999", lines)


@pytest.mark.needs("root", "containers")
def test_a_user_that_the_image_has_not(runjail: Runjail, tmp_path: Path) -> None:
    """Only the image says who its users are."""
    store, root = ("--store", f"dir:{tmp_path}/store"), tmp_path / "root"
    root.mkdir()
    runjail.ok(*store, "image", "import", f"rootfs:{root}", "localhost:1/hello")

    result = runjail(*store, "run", "--image", "localhost:1/hello", "-u", "nobody9", "web", "true")

    assert (result.returncode, result.stderr) == (
        1,
        answer(("--user nobody9: the image has no user 'nobody9' in its /etc/passwd",)),
    )
    assert list(tmp_path.glob("store/bundles/*")) + list(tmp_path.glob("store/roots/*")) == []
