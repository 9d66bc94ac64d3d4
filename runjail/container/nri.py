"""NRI plugins at the points of a container's life: this module knows containers, `nri` knows messages and programs.

`create` is sent by `start`, and from then on the container's facts name who was told (`nri`): only those plugins hear
of its updates, its pauses and its end.
"""

from __future__ import annotations

import os

from runjail import jsonio, log
from runjail.errors import PluginError, RunjailError, reason
from runjail.nri.messages import ContainerInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.container.state import Container
    from runjail.host.base import Host
    from runjail.nri.invoke import PluginChain

KINDS = {"mnt": "mount", "net": "network"}  # config.json's words for the kernel's
# Where linux.resources has what `update` changes
PLACES = {
    "memory_limit": ("memory", "limit"),
    "memory_reservation": ("memory", "reservation"),
    "memory_swap": ("memory", "swap"),
    "cpu_shares": ("cpu", "shares"),
    "cpu_quota": ("cpu", "quota"),
    "cpu_period": ("cpu", "period"),
    "cpus": ("cpu", "cpus"),
    "mems": ("cpu", "mems"),
    "pids_limit": ("pids", "limit"),
}


def run(plugins: PluginChain, state: str, container: Container, host: Host) -> None:
    """Ask all plugins about a container; a result may move its resource group. Raises PluginError at the first failure.

    No lock of ours may be held: a plugin may call runjail for the same container.
    """
    subject = describe(container, host, state)
    try:
        plugins.run(state, subject, os.path.dirname(container.path), lambda path: _regroup(container, host, path))
    except PluginError as error:
        if state == "create":  # who failed has nothing to take back, and would only fail once more
            container.data["nri"] = list(error.answered)
        raise


def invoke_plugins(state: str, container: Container, host: Host) -> None:
    """Let go of the lock, ask the plugins that are configured now, and take it again with the facts of now."""
    plugins = container.plugins()
    if plugins:
        container.unlock()
        run(plugins.only(container.data["nri"]), state, container, host)
        container.lock()
        container.load()


def notify_delete(told: list[str], container: Container, host: Host) -> None:
    """Tell these plugins that the container is gone. Nothing that goes wrong stops `delete`. No lock is held."""
    try:
        plugins = container.plugins()
        if plugins:
            subject = describe(container, host, "delete")
            plugins.only(told).run_all("delete", subject, os.path.dirname(container.path), log.warning)
    except (RunjailError, ValueError) as error:
        log.warning(f"NRI plugins of container {container.id}: {error}")
    except OSError as error:
        log.warning(f"NRI plugins of container {container.id}: {reason(error)}")


def describe(container: Container, host: Host, state: str) -> ContainerInfo:
    """Return what plugins are told of a container."""
    host_state, data = container.host_state, container.data
    said = jsonio.loads(container.config()).get("linux") or {}
    pid = 0 if state == "delete" else host_state.pid
    return ContainerInfo(
        id=container.id,
        pid=pid,
        annotations=data["annotations"],
        resources=_resources(said.get("resources"), data.get("updates", {})),
        namespaces=_namespaces(said.get("namespaces"), host_state.namespaces, pid) if host.os == "linux" else {},
        cgroups_path=_group(said.get("cgroupsPath") or "", host_state.cgroup),
        jail=host_state.name if host.os == "freebsd" else "",
        jid=host_state.jid,
    )


def _resources(said: dict[str, Any] | None, updates: dict[str, Any]) -> dict[str, Any] | None:
    """Return linux.resources of config.json with what `update` has changed since."""
    if not updates:
        return said
    resources = {**(said or {})}
    for name, value in updates.items():
        section, key = PLACES[name]
        resources[section] = {**(resources.get(section) or {}), key: value}
    return resources


def _namespaces(listed: list[dict[str, Any]] | None, own: dict[str, int], pid: int) -> dict[str, str]:
    """Return where each namespace can be entered: by its path in config.json, or through init."""
    short = {name: kind for kind, name in KINDS.items()}
    paths = {item["type"]: item.get("path") or "" for item in listed or ()}
    kinds = paths or {KINDS.get(kind, kind): "" for kind in own if kind not in ("root", "first")}
    return {kind: paths.get(kind) or (f"/proc/{pid}/ns/{short.get(kind, kind)}" if pid else "") for kind in kinds}


def _group(said: str, real: str) -> str:
    """Return the resource group's path as config.json spells it, if that is where the container is."""
    spelled = "/".join(name for name in said.split("/") if name not in ("", "."))
    return said if not real or spelled == real else f"/{real}"


def _regroup(container: Container, host: Host, path: str) -> None:
    with container:
        container.load()
        host.move_cgroup(path, container.host_state, container.note)
        container.save()
