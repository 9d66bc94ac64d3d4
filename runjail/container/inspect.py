"""inspect: all that is known of a container, under podman's names."""

from __future__ import annotations

from typing import Any

from runjail import jsonio
from runjail.container import user_network
from runjail.container.container import Container
from runjail.container.exit_record import exit_facts
from runjail.container.monitor import is_watched, monitored
from runjail.container.network import attached
from runjail.container.restart import restart_facts
from runjail.container.status import status
from runjail.network.attachment import Attachment, addresses, gateways
from runjail.network.usermode import UserNetwork

IMAGE = "org.runjail.image."


def inspected(container: Container) -> dict[str, Any]:
    """Return the document of a container that has been loaded. What is not known is left out, or 0."""
    config = jsonio.loads(container.config())
    process, annotations = config.get("process") or {}, config.get("annotations") or {}
    args = process.get("args") or [""]
    return {
        "Id": container.id,
        "Name": container.id,
        "Created": container.state.created,
        "Path": args[0],
        "Args": args[1:],
        "State": _state(container),
        "RestartCount": restart_facts(container).get("count", 0),
        "Image": annotations.get(f"{IMAGE}manifest", ""),
        "ImageName": annotations.get(f"{IMAGE}name", ""),
        "Bundle": container.state.bundle,
        "Rootfs": container.host_state.source,
        "Mounts": [_mount(mount) for mount in config.get("mounts") or []],
        "Config": {
            "Hostname": config.get("hostname", ""),
            "Env": process.get("env") or [],
            "Cmd": args,
            "WorkingDir": process.get("cwd", ""),
            "User": _user(process.get("user") or {}),
            "Tty": bool(process.get("terminal")),
            "Labels": annotations,
            "Annotations": annotations,
            "StopSignal": annotations.get("org.opencontainers.image.stopSignal", ""),
        },
        "HostConfig": {
            "LogConfig": _log(container),
            "RestartPolicy": _restart_policy(container),
            **_limits((config.get("linux") or {}).get("resources") or {}),
            "ReadonlyRootfs": bool((config.get("root") or {}).get("readonly")),
        },
        "NetworkSettings": _networks(attached(container), user_network.of(container)),
    }


def _limits(resources: dict[str, Any]) -> dict[str, Any]:
    """Return what config.json limits, by podman's names; 0 for what it does not."""
    cpu = resources.get("cpu") or {}
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 100_000
    return {
        "Memory": max(0, (resources.get("memory") or {}).get("limit") or 0),
        "NanoCpus": max(0, quota) * 1_000_000_000 // period,
        "CpusetCpus": cpu.get("cpus") or "",
        "PidsLimit": max(0, (resources.get("pids") or {}).get("limit") or 0),
    }


def _networks(attachments: list[Attachment], program: UserNetwork | None) -> dict[str, Any]:
    """Return podman's NetworkSettings: the first network's address at the top, ports of all of them.

    program: which is the network instead, if one is.
    """
    ports: dict[str, list[dict[str, str]]] = {}
    for published in [*(attachment.ports for attachment in attachments), *([program.ports] if program else [])]:
        for port in published:
            place = {"HostIp": port.get("hostIP", ""), "HostPort": str(port["hostPort"])}
            ports.setdefault(f"{port['containerPort']}/{port['protocol']}", []).append(place)
    networks = {each.network: _network(each) for each in attachments}
    if program:
        networks[program.name] = {"IPAddress": program.address, "Gateway": ""}
    first = next(iter(networks.values()), {"IPAddress": "", "Gateway": ""})
    key = attachments[0].namespace if attachments else ""
    return {**first, "Ports": ports, "SandboxKey": key, "Networks": networks}


def _network(attachment: Attachment) -> dict[str, str]:
    """Return what a network has given the container, "" as long as there is no result."""
    found, host = addresses(attachment.result), gateways(attachment.result)
    return {"IPAddress": found[0] if found else "", "Gateway": host[0] if host else ""}


def _state(container: Container) -> dict[str, Any]:
    now, ended = status(container), exit_facts(container)
    restarts = restart_facts(container)
    restarting = now == "stopped" and not ended and is_watched(container) and bool(restarts.get("waiting"))
    ended = ended or restarts
    return {
        "OciVersion": container.state.oci_version,
        "Status": "restarting" if restarting else "exited" if now == "stopped" else now,
        "Running": now in ("running", "paused"),
        "Paused": now == "paused",
        "Pid": container.host_state.pid if now in ("running", "paused", "created") else 0,
        "Restarting": restarting,
        "ExitCode": ended.get("code", 0),
        "Error": ended.get("error", ""),
        "FinishedAt": ended.get("finished", ""),
    }


def _mount(mount: dict[str, Any]) -> dict[str, Any]:
    options = mount.get("options") or []
    return {
        "Type": mount.get("type", "bind"),
        "Source": mount.get("source", ""),
        "Destination": mount["destination"],
        "Options": options,
        "RW": "ro" not in options,
    }


def _user(user: dict[str, Any]) -> str:
    return f"{user.get('uid', 0)}:{user.get('gid', 0)}"


def _restart_policy(container: Container) -> dict[str, Any]:
    facts = restart_facts(container)
    return {"Name": facts.get("policy", "no"), "MaximumRetryCount": facts.get("retries", 0)}


def _log(container: Container) -> dict[str, str]:
    facts = monitored(container)
    if not facts:
        return {"Type": "passthrough", "Path": ""}
    return {"Type": "k8s-file" if facts.get("log") else "none", "Path": str(facts.get("log") or "")}
