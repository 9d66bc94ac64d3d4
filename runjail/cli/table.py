"""Every verb and option, as data: `parse` reads command lines by it, `help` renders it through click.

An option is (long name, short letters, value name, help). Without a value name it is a flag; a value name that ends
in `...` may be given many times; an option without help text is another runtime's: accepted and ignored.
A verb is (module:function, positionals, options, help); a positional that ends in `...` takes all that follows, and
options end before it.
"""

from __future__ import annotations

GLOBALS = (
    ("root", "", "DIR", "where the state of containers is kept"),
    ("log", "", "FILE", "append errors to FILE (also file:FILE)"),
    ("log-format", "", "text|json", "form of the log"),
    ("log-level", "", "LEVEL", "debug, info, warning or error"),
    ("debug", "", "", "the same as --log-level debug"),
    ("nri-bin", "", "DIR", "the directory of NRI plugins"),
    ("store", "", "STORE", "where images and layers are kept: {stores}"),
    ("version", "vV", "", "print the version"),
    ("help", "h", "", "print help"),
    ("systemd-cgroup", "", "", "on Linux: let systemd hold the container, as a transient scope"),
    ("cgroup-manager", "", "X", ""),
    ("rootless", "", "", ""),
    ("criu", "", "X", ""),
)

_BUNDLE = ("bundle", "b", "DIR", "the bundle: a directory with config.json (default: the current one)")
_PID_FILE = ("pid-file", "", "FILE", "write the process id there")
_CONSOLE = ("console-socket", "", "PATH", "Unix socket that receives the terminal")
_PRESERVE = ("preserve-fds", "", "N", "pass N more descriptors on to the program, from 3")
_DETACH = ("detach", "d", "", "do not wait for the program")
_HELP = ("help", "h", "", "print help")
_CREATE = (
    _BUNDLE,
    _PID_FILE,
    _CONSOLE,
    _PRESERVE,
    ("no-pivot", "", "", ""),
    ("no-new-keyring", "", "", "on Linux: processes keep the session keyring of who starts them"),
    ("pidfd-socket", "", "X", ""),
)
_IMAGE = (
    ("image", "", "REF", "run this image instead of a bundle"),
    (
        "key",
        "",
        "FILE[:pass=…|:file=…|:fd=N]...",
        "with --image: private key of an encrypted image; also provider:NAME",
    ),
    ("platform", "", "OS/ARCH", "with --image: run the image of this platform"),
    ("user", "u", "USER[:GROUP]", "with --image: run as this user, by name or number"),
    ("workdir", "w", "DIR", "with --image: working directory"),
    ("hostname", "", "NAME", "with --image: the container's name for itself (default: ID)"),
    ("network", "", "host|none", "with --image: the host's network (default) or none"),
    ("read-only", "", "", "with --image: the root file system cannot be written"),
    ("storage-opt", "", "size=BYTES...", "with --image: limit of what the container may write"),
    ("quiet", "q", "", "with --image: no progress"),
)
_TABLE = ("format", "f", "table|json", "form of the output")
_OS = ("os", "", "freebsd|linux", "for which system")

# Verbs that have verbs: the module whose VERBS they are, and what they are about.
GROUPS = {"image": ("runjail.cli.image.table", "work with images: pull, push, encrypt, unpack and more")}

VERBS = {
    "create": ("runjail.cli.lifecycle:create", ("ID",), _CREATE, "create a container whose program waits for start"),
    "start": ("runjail.cli.lifecycle:start", ("ID",), (), "run the program of a created container"),
    "run": (
        "runjail.cli.lifecycle:run",
        ("ID", "CMD..."),
        (
            *_CREATE,
            _DETACH,
            ("keep", "", "", "keep the container when its program ends"),
            ("rm", "", "", "delete the container when its program ends (the default in the foreground)"),
            ("tty", "t", "", "give the program a terminal"),
            ("interactive", "i", "", "keep standard input open (it always is)"),
            ("env", "e", "NAME=VALUE...", "add to the environment"),
            ("volume", "v", "SRC:DST[:ro]...", "mount a directory or file of the host"),
            *_IMAGE,
            ("no-subreaper", "", "", ""),
        ),
        "create and start a container; without -d wait for it and delete it",
    ),
    "state": ("runjail.cli.lifecycle:state", ("ID",), (), "print the state document of a container"),
    "kill": (
        "runjail.cli.lifecycle:kill",
        ("ID", "[SIGNAL]"),
        (
            ("all", "a", "", "signal every process of the container"),
            ("pid", "p", "PID", "signal this process of the container instead of init"),
        ),
        "send a signal (default: TERM)",
    ),
    "delete": (
        "runjail.cli.lifecycle:delete",
        ("ID",),
        (("force", "f", "", "also a running one; an unknown one is no error"),),
        "delete a container and everything that create made",
    ),
    "exec": (
        "runjail.cli.lifecycle:execute",
        ("ID", "CMD..."),
        (
            ("process", "p", "FILE", "read the process from this JSON document"),
            ("cwd", "", "DIR", "working directory"),
            ("env", "e", "NAME=VALUE...", "add to the environment"),
            ("tty", "t", "", "give the program a terminal"),
            ("interactive", "i", "", "keep standard input open (it always is)"),
            ("user", "u", "UID[:GID]", "run as this user"),
            ("additional-gids", "g", "GID...", "more groups"),
            _DETACH,
            _PID_FILE,
            _CONSOLE,
            _PRESERVE,
            ("no-new-privs", "", "", "never gain privileges"),
            ("ignore-paused", "", "", "also in a paused container"),
            ("cap", "c", "CAP...", "on Linux: have this capability too"),
            ("process-label", "", "X", ""),
            ("apparmor", "", "X", ""),
            ("cgroup", "", "X...", ""),
        ),
        "run another program in a container",
    ),
    "list": ("runjail.cli.reports:list_", (), (_TABLE, ("quiet", "q", "", "only ids")), "list containers"),
    "ps": ("runjail.cli.reports:ps", ("ID", "OPTION..."), (_TABLE,), "list the processes of a container"),
    "pause": ("runjail.cli.lifecycle:pause", ("ID",), (), "stop all processes of a container"),
    "resume": ("runjail.cli.lifecycle:resume", ("ID",), (), "let a paused container run again"),
    "update": (
        "runjail.cli.reports:update",
        ("ID",),
        (
            ("resources", "r", "FILE|-", "read the limits from this JSON document"),
            ("memory", "", "BYTES", "memory limit"),
            ("memory-reservation", "", "BYTES", "soft memory limit"),
            ("memory-swap", "", "BYTES", "limit of memory and swap together, -1 for none"),
            ("cpu-period", "", "MICROSECONDS", "period of the CPU quota"),
            ("cpu-quota", "", "MICROSECONDS", "CPU time in a period, -1 for no limit"),
            ("cpu-share", "", "N", "relative weight"),
            ("cpuset-cpus", "", "LIST", "processors, e.g. 0-2,5"),
            ("cpuset-mems", "", "LIST", "memory nodes"),
            ("pids-limit", "", "N", "number of processes, -1 for no limit"),
            ("blkio-weight", "", "X", ""),
            ("cpu-rt-period", "", "X", ""),
            ("cpu-rt-runtime", "", "X", ""),
            ("cpu-burst", "", "X", ""),
            ("cpu-idle", "", "X", ""),
            ("kernel-memory", "", "X", ""),
            ("kernel-memory-tcp", "", "X", ""),
            ("l3-cache-schema", "", "X", ""),
            ("mem-bw-schema", "", "X", ""),
        ),
        "change the limits of a container",
    ),
    "events": (
        "runjail.cli.reports:events",
        ("ID",),
        (
            ("stats", "", "", "print one event and end"),
            ("interval", "", "DURATION", "time between events (default: 5s)"),
        ),
        "print the resource usage of a container",
    ),
    "features": ("runjail.cli.reports:features", (), (), "print what this runtime can do"),
    "spec": ("runjail.cli.reports:spec", (), (_BUNDLE, ("rootless", "", "", "")), "write an example config.json"),
    "plan": (
        "runjail.cli.reports:plan",
        ("[ID]",),
        (_BUNDLE, ("format", "f", "text|json", "form of the output"), _OS),
        "print what create would do: jail.conf and commands",
    ),
    "validate": (
        "runjail.cli.reports:validate",
        (),
        (_BUNDLE, _OS),
        "explain everything that is wrong with config.json",
    ),
    "check": (
        "runjail.cli.reports:check",
        (),
        (_TABLE, ("containerd", "", "FILE", "look at this configuration file of containerd instead")),
        "say what this machine can and cannot do, and what mends it",
    ),
    "nri": (
        "runjail.cli.plugins:nri",
        ("ls|check",),
        (_TABLE,),
        "list the NRI plugins that are configured (ls), or try each with a sample request (check)",
    ),
    "checkpoint": ("runjail.cli.lifecycle:unsupported", ("WORD...",), (), ""),
    "restore": ("runjail.cli.lifecycle:unsupported", ("WORD...",), (), ""),
}
