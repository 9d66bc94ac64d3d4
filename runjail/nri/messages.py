"""What plugins are told and what they answer: NRI v0.1.

They are as NRI's code has them, with what only its documentation shows. The documentation shows paths of live
namespaces under short names (`net`), and a result with `cgroupsPath`; the code sends the names of config.json
(`network`), and `sandboxID`, `labels` and `results`, which the documentation omits.
"""

from __future__ import annotations

from runjail import jsonio
from runjail.nri.config import Plugin, get, is_name
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

CRI = "io.kubernetes.cri."  # annotations by which containerd's CRI says which pod a container belongs to
LABELS = {"sandbox-name": "pod.name", "sandbox-namespace": "pod.namespace", "sandbox-uid": "pod.uid"}
JAIL_NAME, JAIL_ID = "org.runjail.jail.name", "org.runjail.jail.jid"
SHORT_NAMES = {"network": "net"}
MOST_METADATA = 1000


class ContainerInfo(Record):
    """The container that plugins are asked about.

    pid: of its init, 0 for none. resources: linux.resources as JSON data or None. namespaces: type to path.
    cgroups_path: its resource group, "" for none. jail, jid: on FreeBSD.
    """

    id: str
    pid: int = 0
    annotations: Mapping[str, str] = {}
    resources: Any = None
    namespaces: Mapping[str, str] = {}
    cgroups_path: str = ""
    jail: str = ""
    jid: int = 0


class Result(Record):
    """A plugin's answer. error: "" is success. cgroups_path: where it wants the container's resource group."""

    plugin: str = ""
    version: str = ""
    error: str = ""
    metadata: Mapping[str, str] = {}
    cgroups_path: str = ""

    def to_data(self) -> dict[str, Any]:
        """Return it as later plugins see it among `results`."""
        data: dict[str, Any] = {"plugin": self.plugin, "version": self.version, "error": self.error}
        if self.metadata:
            data["metadata"] = dict(self.metadata)
        if self.cgroups_path:
            data["cgroupsPath"] = self.cgroups_path
        return data


def request(plugin: Plugin, state: str, subject: ContainerInfo, results: Sequence[Result] = ()) -> dict[str, Any]:
    """Return the request for one plugin as JSON data; what is empty is left out, as NRI's code does."""
    data: dict[str, Any] = {"conf": jsonio.loads(plugin.conf)} if plugin.conf else {}
    data |= {"version": plugin.version, "state": state, "id": subject.id}
    sandbox = _sandbox(subject)
    if sandbox:
        data["sandboxID"] = sandbox
    if subject.pid > 0:
        data["pid"] = subject.pid
    data["spec"] = _spec(subject)
    labels = _labels(subject.annotations)
    if labels:
        data["labels"] = labels
    if results:
        data["results"] = [result.to_data() for result in results]
    return data


def _spec(subject: ContainerInfo) -> dict[str, Any]:
    spec: dict[str, Any] = {"resources": subject.resources}
    if subject.namespaces:
        short = {SHORT_NAMES[kind]: path for kind, path in subject.namespaces.items() if kind in SHORT_NAMES}
        spec["namespaces"] = {**subject.namespaces, **short}
    if subject.cgroups_path:
        spec["cgroupsPath"] = subject.cgroups_path
    annotations = {key: value for key, value in subject.annotations.items() if key not in (JAIL_NAME, JAIL_ID)}
    if subject.jail:  # who writes config.json does not say which jail this is
        annotations |= {JAIL_NAME: subject.jail, JAIL_ID: str(subject.jid)}
    if annotations:
        spec["annotations"] = annotations
    return spec


def _sandbox(subject: ContainerInfo) -> str:
    """Return the id of the container's pod sandbox: its own when it is the sandbox, "" when it is in no pod."""
    if subject.annotations.get(f"{CRI}container-type") == "sandbox":
        return subject.id
    return subject.annotations.get(f"{CRI}sandbox-id", "")


def _labels(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that every pod sandbox has, as far as annotations repeat them."""
    known = {label: annotations.get(f"{CRI}{key}", "") for key, label in LABELS.items()}
    return {f"io.kubernetes.{label}": value for label, value in known.items() if value}


def read_result(answer: bytes, plugin: Plugin) -> Result:
    """Read what a plugin wrote. Raises ValueError saying what is wrong with it."""
    try:
        data = jsonio.loads(answer)
    except ValueError:
        text = answer.decode("utf-8", "replace").strip()
        raise ValueError(f"its answer is no JSON: {text[:80]!a}" if text else "it answered nothing") from None
    if not isinstance(data, dict):
        raise ValueError(f"its answer is no JSON object: {jsonio.dumps(data)[:80]}")
    metadata = get(data, "metadata") or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its answer's metadata must be an object of strings")
    if len(metadata) > MOST_METADATA:
        raise ValueError(f"its answer has more than {MOST_METADATA} metadata")
    return Result(
        _text(data, "plugin") or plugin.type,
        _text(data, "version") or plugin.version,
        _text(data, "error"),
        metadata,
        _text(data, "cgroupsPath"),
    )


def _text(data: dict[str, Any], key: str) -> str:
    value = get(data, key)
    if not isinstance(value, str | None):
        raise ValueError(f"its answer's {key} must be a string")
    return value or ""


def group(path: str) -> str:
    """Return a resource group's path without empty parts. Raises ValueError when it leads out of the groups."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    if not names or not all(map(is_name, names)):
        raise ValueError(f"its answer's cgroupsPath is no path of a group: {path[:200]!a}")
    return "/".join(names)
