"""top: what ps(1) says of a container's processes. Pids are the host's."""

from __future__ import annotations

from runjail.container.query import pids
from runjail.errors import HostError, NotRunning, UsageError
from runjail.host import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.container.container import Runtime

COLUMNS = {  # of podman's top, and what ps(1) calls them on both systems
    "user": "USER",
    "pid": "PID",
    "ppid": "PPID",
    "pcpu": "%CPU",
    "etime": "ELAPSED",
    "tty": "TTY",
    "time": "TIME",
    "args": "COMMAND",
}
ALIASES = {"hpid": "pid", "huser": "user", "%cpu": "pcpu", "%mem": "pmem", "elapsed": "etime", "command": "args"}
WIDE = ("args", "command", "comm", "ucomm", "label")  # may have blanks in them: only the last column can be told apart
_ENVIRONMENT = {"LC_ALL": "C.UTF-8"}
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz%_")


def rows(container_id: str, columns: list[str], runtime: Runtime) -> list[list[str]]:
    """Return a heading and a row for each process. columns: words of ps(1) -o, none for podman's.

    Raises UsageError for a word that cannot be one, NotRunning, HostError for what ps says.
    """
    wanted = [name for word in columns for name in word.split(",") if name]
    keys = [ALIASES.get(name.lower(), name.lower()) for name in wanted] or list(COLUMNS)
    for name in keys:
        if not LETTERS.issuperset(name):
            raise UsageError(f"top: not a column of ps(1): {name[:40]!r}", f"such as {', '.join(COLUMNS)}")
    numbers = pids(container_id, runtime)
    if not numbers:
        raise NotRunning(container_id)
    order = [key for key in keys if key not in WIDE] + [key for key in keys if key in WIDE]
    headings = [COLUMNS.get(key, key.upper()) for key in order]
    return [headings, *(_cells(line, len(order)) for line in _ps(order, numbers))]


def lines(options: list[str], numbers: list[int], by_pid: bool) -> list[str]:
    """Return what ps(1) says with these options: its heading, and the lines about the processes of these numbers.

    by_pid: whether ps has to be told of them (target.py); then it fails, in silence, when they have all ended. Raises
    UsageError for options that ps does not take, or that show no column PID, HostError without a ps.
    """
    named = ["-p", ",".join(map(str, numbers))] if by_pid and numbers else []
    result = programs.run([_program(), *options, *named], limit=1 << 26, env=_ENVIRONMENT)
    if result.status and (result.stderr or not by_pid):
        raise UsageError(f"ps: {programs.first_line(result.stderr)}", "options after the id are those of ps(1)")
    heading, *found = result.stdout.decode("utf-8", "replace").splitlines() or [""]
    if "PID" not in heading.split():
        raise UsageError("ps: these options show no column PID, by which the container's processes are told")
    column, wanted = heading.split().index("PID"), set(map(str, numbers))
    return [heading, *(line for line in found if wanted.intersection(line.split()[column : column + 1]))]


def _program() -> str:
    program = programs.which("ps")
    if not program:
        raise HostError("there is no ps(1)", "on Debian it is in procps; runjail ps -f json needs none")
    return program


def _ps(keys: list[str], numbers: list[int]) -> list[str]:
    """Return the lines of ps(1), without its heading; of processes that ended meanwhile it says nothing."""
    columns = [word for key in keys for word in ("-o", f"{key}=")]
    words = [_program(), "-ww", *columns, "-p", ",".join(map(str, numbers))]
    result = programs.run(words, limit=1 << 24, env=_ENVIRONMENT)
    if result.status and result.stderr:
        raise UsageError(f"ps: {programs.first_line(result.stderr)}")
    return [line for line in result.stdout.decode("utf-8", "replace").splitlines() if line.strip()]


def _cells(line: str, count: int) -> list[str]:
    cells = line.split(None, count - 1)
    return [cell.strip() for cell in cells] + [""] * (count - len(cells))
