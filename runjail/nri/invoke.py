"""Calling plugins, one after another: one request on their input, one result on their output.

Each is called as `PLUGIN invoke`. A plugin is looked up in the plugin directories and nowhere else, runs in a process
group of its own, has a time limit, and has to be gone with all its children when it has answered. What it writes to
standard error goes to our log.
"""

from __future__ import annotations

import os

from runjail import jsonio, log
from runjail.errors import HostError, InvalidConfig, PluginError, RunjailError, reason
from runjail.host import programs
from runjail.nri import messages
from runjail.nri.config import Plugin, load
from runjail.nri.messages import ContainerInfo, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

CRI_CONFIG = "/etc/nri/conf.json"  # the only file that containerd's own client of v0.1 reads
TIMEOUT = 10.0  # seconds; NRI itself has none
LONGEST = 3600.0
LARGEST = 1 << 20  # bytes of an answer
MOST_LINES = 20  # of a plugin's standard error in our log
PATH = programs.ENVIRONMENT["PATH"] + ":/usr/local/sbin:/usr/local/bin"  # plugins may be scripts of any language
CAUSES = {
    2: "its interpreter or a directory is missing",
    8: "is no program and has no #! line",
    13: "may not be executed",
}


class PluginChain:
    """The plugins to run, in order; where their programs are; how many seconds each may take.

    cri: the file whose plugins containerd's CRI asks about its containers, "" for none.
    """

    def __init__(
        self, plugins: Sequence[Plugin], directories: Sequence[str], timeout: float = TIMEOUT, cri: str = ""
    ) -> None:
        self.plugins = tuple(plugins)
        self.directories = tuple(directories)
        self.timeout = timeout
        self.cri = cri

    def names(self) -> list[str]:
        """Return the plugins' names, in order."""
        return [plugin.type for plugin in self.plugins]

    def only(self, names: Iterable[str]) -> PluginChain:
        """Return a chain of those plugins that are among `names`: of one that runs twice, as many as are named."""
        wanted, chosen = list(names), []
        for plugin in self.plugins:
            if plugin.type in wanted:
                wanted.remove(plugin.type)
                chosen.append(plugin)
        return PluginChain(chosen, self.directories, self.timeout, self.cri)

    def ours(self, annotations: Mapping[str, str]) -> PluginChain:
        """Return a chain of those that nobody else asks when a container with these annotations begins and ends."""
        if f"{messages.CRI}container-type" not in annotations:
            return self
        chosen = [plugin for plugin in self.plugins if plugin.file != self.cri]
        return PluginChain(chosen, self.directories, self.timeout, self.cri)

    def run(self, state: str, subject: ContainerInfo, root: str, move: Callable[[str], None]) -> None:
        """Ask every plugin until one fails; each sees the results of those before it.

        root: the state directory, so that a plugin can call runjail. move: puts the container into another resource
        group; later plugins are told the new one. Raises PluginError naming the plugin that failed, and why.
        """
        results: list[Result] = []
        answered: list[str] = []
        for plugin in self.plugins:
            try:
                result = self.call(plugin, state, subject, root, results)
                answered.append(plugin.type)
                if result.cgroups_path:
                    subject = _moved(plugin, subject, result.cgroups_path, move)
            except PluginError as error:
                error.answered = tuple(answered)
                raise
            results.append(result)

    def run_all(self, state: str, subject: ContainerInfo, root: str, warn: Callable[[str], None]) -> None:
        """Ask every plugin, whatever the others do: failures only warn."""
        results: list[Result] = []
        for plugin in self.plugins:
            try:
                results.append(self.call(plugin, state, subject, root, results))
            except PluginError as error:
                warn(str(error))

    def call(
        self, plugin: Plugin, state: str, subject: ContainerInfo, root: str = "", results: Sequence[Result] = ()
    ) -> Result:
        """Ask one plugin. Raises PluginError."""
        request = jsonio.dumps(messages.request(plugin, state, subject, results)).encode()
        ended = self._run(plugin, self.find(plugin), request, root)
        _log_stderr(plugin, ended.stderr)
        if ended.timed_out:
            raise _failure(plugin, f"no answer after {self.timeout:g} s")
        if len(ended.stdout) > LARGEST:
            raise _failure(plugin, f"its answer is larger than {LARGEST} bytes")
        try:
            result = messages.read_result(ended.stdout, plugin)
        except ValueError as error:
            raise _failure(plugin, _exit_cause(ended) if ended.status else str(error)) from None
        if result.error:
            raise _failure(plugin, result.error)
        if ended.status:
            raise _failure(plugin, _exit_cause(ended))
        if ended.left:
            raise _failure(plugin, "it left processes behind, which were killed")
        return result

    def _run(self, plugin: Plugin, path: str, request: bytes, root: str) -> programs.Result:
        env = {**programs.ENVIRONMENT, "PATH": PATH, **({"RUNJAIL_ROOT": root} if root else {})}
        argv = (plugin.type, "invoke")
        try:
            return programs.run(
                argv,
                path=path,
                env=env,
                input=request,
                timeout=self.timeout,
                limit=LARGEST + 1,
                leave=False,
                foreign=True,
            )
        except HostError as error:
            raise _failure(plugin, str(error)) from None
        except OSError as error:
            raise _failure(plugin, f"{path} {CAUSES.get(error.errno or 0) or f'cannot run: {reason(error)}'}") from None

    def find(self, plugin: Plugin) -> str:
        """Return the path of a plugin's program. Raises PluginError."""
        for directory in self.directories:
            if os.path.lexists(f"{directory}/{plugin.type}"):
                return f"{directory}/{plugin.type}"
        raise _failure(plugin, f"not found in {' or '.join(self.directories)}")


def configured(
    directories: Sequence[str], bin_directories: Iterable[str], settings: str = "", bin: str = ""
) -> PluginChain:
    """Return the chain that the files name; it may be empty.

    directories, bin_directories: used where nothing else is said by runjail.toml at `settings`, or by `bin` for the
    latter. Raises InvalidConfig.
    """
    timeout, cri = TIMEOUT, CRI_CONFIG
    if settings:
        from runjail.settings import read

        section = read(settings)["nri"]
        if "config" in section and not os.path.isdir(section["config"]):
            raise InvalidConfig([f"nri.config: {section['config']} is not a directory"], settings)
        directories = (section["config"],) if "config" in section else directories
        bin = bin or section.get("bin", "")
        cri = "" if section.get("cri") == "runjail" else cri
        timeout = float(section.get("timeout", TIMEOUT))
        if not 0 < timeout <= LONGEST:
            raise InvalidConfig([f"nri.timeout: must be above 0 and at most {LONGEST:g} seconds"], settings)
    return PluginChain(load(directories), (bin,) if bin else tuple(bin_directories), timeout, cri)


def _moved(plugin: Plugin, subject: ContainerInfo, path: str, move: Callable[[str], None]) -> ContainerInfo:
    try:
        wanted = messages.group(path)
        if wanted == subject.cgroups_path.strip("/"):
            return subject
        move(wanted)
    except (ValueError, RunjailError) as error:
        raise _failure(plugin, str(error)) from error
    except OSError as error:
        raise _failure(plugin, f"moving to control group {path}: {reason(error)}") from error
    return subject.replace(cgroups_path=f"/{wanted}")


def _exit_cause(ended: programs.Result) -> str:
    words = programs.first_line(ended.stderr) or programs.first_line(ended.stdout)
    return f"exit status {ended.status}" + (f": {words[:500]}" if words else "")


def _failure(plugin: Plugin, cause: str) -> PluginError:
    return PluginError(f"NRI plugin {plugin.type}: {programs.plain(cause)[:2000]}", f"configured in {plugin.file}")


def _log_stderr(plugin: Plugin, stderr: bytes) -> None:
    lines = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    for line in lines[:MOST_LINES]:
        log.warning(f"NRI plugin {plugin.type}: {line[:1000]}")
    if len(lines) > MOST_LINES:
        log.warning(f"NRI plugin {plugin.type}: and {len(lines) - MOST_LINES} more lines")
