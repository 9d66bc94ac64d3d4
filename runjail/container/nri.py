"""NRI plugins at the points of a container's life.

This module knows containers, `nri` knows messages and programs. `create` is sent by `start`, and from then on the
container's facts name who was told (`nri`): only those plugins hear of its updates, its pauses and its end.
"""

from __future__ import annotations

import os

from runjail import jsonio, log
from runjail.errors import PluginError, RunjailError, reason
from runjail.nri.messages import ContainerInfo
from runjail.target import TARGETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.container.container import Container
    from runjail.container.state import State
    from runjail.nri.invoke import PluginChain

KINDS = {"mnt": "mount", "net": "network"}  # config.json's words for the kernel's
# Where linux.resources has what `update` changes
PLACES = {
    "memory_limit": ("memory", "limit"),
    "swappiness": ("memory", "swappiness"),
    "oom_killer_off": ("memory", "disableOOMKiller"),
    "check_before_update": ("memory", "checkBeforeUpdate"),
    "cpu_idle": ("cpu", "idle"),
    "cpu_burst": ("cpu", "burst"),
    "realtime_period": ("cpu", "realtimePeriod"),
    "realtime_runtime": ("cpu", "realtimeRuntime"),
    "class_id": ("network", "classID"),
    "memory_reservation": ("memory", "reservation"),
    "memory_swap": ("memory", "swap"),
    "cpu_shares": ("cpu", "shares"),
    "cpu_quota": ("cpu", "quota"),
    "cpu_period": ("cpu", "period"),
    "cpus": ("cpu", "cpus"),
    "mems": ("cpu", "mems"),
    "pids_limit": ("pids", "limit"),
}


def run(plugins: PluginChain, state: str, container: Container) -> None:
    """Ask all plugins about a container; a result may move its resource group. Raises PluginError at the first failure.

    The container must not be locked: a plugin may call runjail for the same container. Whom containerd's CRI asks in
    `create` and `delete`, where it knows no other states, is not asked again.
    """
    subject = describe(container, state)
    plugins = plugins.ours(subject.annotations) if state == "create" else plugins
    try:
        plugins.run(state, subject, os.path.dirname(container.path), lambda path: _regroup(container, path))
    except PluginError as error:
        if state == "create":  # who failed has nothing to take back, and would only fail once more
            container.state.nri_plugins = list(error.answered)
        raise


def invoke_plugins(state: str, container: Container) -> None:
    """Let go of the lock, ask the plugins that are configured now, and take it again with the facts of now."""
    plugins = container.runtime.plugins()
    if plugins:
        with container.unlocked():
            run(plugins.only(container.state.nri_plugins), state, container)


def notify_delete(names: list[str], container: Container) -> None:
    """Tell these plugins that the container is gone. Nothing that goes wrong stops `delete`. No lock is held."""
    try:
        plugins = container.runtime.plugins()
        if plugins:
            subject = describe(container, "delete")
            plugins.ours(subject.annotations).only(names).run_all(
                "delete", subject, os.path.dirname(container.path), log.warning
            )
    except (RunjailError, ValueError) as error:
        log.warning(f"NRI plugins of container {container.id}: {error}")
    except OSError as error:
        log.warning(f"NRI plugins of container {container.id}: {reason(error)}")


def describe(container: Container, state: str) -> ContainerInfo:
    """Return what plugins are told of a container."""
    host_state = container.host_state
    linux = jsonio.loads(container.config()).get("linux") or {}
    pid, jails = 0 if state == "delete" else host_state.pid, TARGETS[container.host.os].jails
    return ContainerInfo(
        id=container.id,
        pid=pid,
        annotations=container.state.annotations,
        resources=_resources(linux.get("resources"), container.state),
        namespaces={} if jails else _namespaces(linux.get("namespaces"), host_state.namespaces, pid),
        cgroups_path=_group(linux.get("cgroupsPath") or "", host_state.cgroup),
        jail=host_state.name if jails else "",
        jid=host_state.jid,
    )


def _resources(declared: dict[str, Any] | None, state: State) -> dict[str, Any] | None:
    """Return linux.resources of config.json with what `update` has changed since."""
    if not state.updates and not state.updated_lists:
        return declared
    resources = {**(declared or {})}
    for name, value in state.updates.items():
        section, key = PLACES[name]
        resources[section] = {**(resources.get(section) or {}), key: value}
    if state.updated_lists:
        from runjail.nri.resources import lay_over

        for name, items in state.updated_lists.items():
            lay_over(resources, name, items)
    return resources


def _namespaces(listed: list[dict[str, Any]] | None, own: dict[str, int], pid: int) -> dict[str, str]:
    """Return where each namespace can be entered: by its path in config.json, or through init."""
    short = {name: kind for kind, name in KINDS.items()}
    paths = {item["type"]: item.get("path") or "" for item in listed or ()}
    kinds = paths or {KINDS.get(kind, kind): "" for kind in own if kind not in ("root", "first")}
    return {kind: paths.get(kind) or (f"/proc/{pid}/ns/{short.get(kind, kind)}" if pid else "") for kind in kinds}


def _group(declared: str, real: str) -> str:
    """Return the resource group's path as config.json spells it, if that is where the container is."""
    spelled = "/".join(name for name in declared.split("/") if name not in ("", "."))
    return declared if not real or spelled == real else f"/{real}"


def _regroup(container: Container, path: str) -> None:
    with container:
        container.load()
        container.host.move_cgroup(path, container.host_state, container.note)
        container.save()
