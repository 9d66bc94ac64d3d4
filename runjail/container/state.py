"""What state.json says of a container, typed. Other versions read it, so its keys stay as they are.

Keys that a later version writes are kept as they were found.
"""

from __future__ import annotations

import os

from runjail.host.base import HostState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.host.base import Host
    from runjail.spec.model import Hook


class ProcessId:
    """A process, told from a later one with its number by when it started (as Host.start_time has it)."""

    __slots__ = ("pid", "start_time")

    def __init__(self, pid: int, start_time: str) -> None:
        self.pid, self.start_time = pid, start_time

    @classmethod
    def own(cls, host: Host) -> ProcessId:
        """Return that of the calling process."""
        return cls(os.getpid(), host.start_time(os.getpid()))

    def lives(self, host: Host) -> bool:
        """Say whether it still runs; a process that died before anybody could look has no start time."""
        return bool(self.start_time) and host.start_time(self.pid) == self.start_time


class State:
    """The facts of one container; made without any, they are those of one that was never created.

    bundle: absolute path. created: time in RFC 3339. owner: user id. hooks: kind to the hooks that `start` and `delete`
    run, as JSON (see hooks_of). boot_id: of the boot in which it was created, "" as long as nothing is known. creator:
    who is creating it, None when that is done. starter: who has begun to start it. nri_plugins: who was told of it.
    updates: what `update` has changed, by fields of spec.model.Resources; updated_lists: those that have many values.
    host: what only the host understands.
    """

    __slots__ = (
        *("oci_version", "bundle", "created", "owner", "annotations", "hooks", "boot_id", "creator", "starter"),
        *("nri_plugins", "updates", "updated_lists", "host", "_more"),
    )

    def __init__(self, host: HostState) -> None:
        self.oci_version = self.bundle = self.created = self.owner = self.boot_id = ""
        self.annotations: dict[str, str] = {}
        self.hooks: dict[str, list[dict[str, Any]]] = {}
        self.creator: ProcessId | None = None
        self.starter: ProcessId | None = None
        self.nri_plugins: list[str] = []
        self.updates: dict[str, bool | int | str] = {}
        self.updated_lists: dict[str, list[Any]] = {}
        self.host = host
        self._more: dict[str, Any] = {}

    @classmethod
    def from_document(cls, document: object) -> State:
        """Return what a state.json says. Raises ValueError with the name of the first field that cannot be true."""
        if not isinstance(document, dict):
            raise ValueError("not an object")
        state = cls(_host_state(document.get(HOST)))
        for key, (name, is_valid) in FIELDS.items():
            if key in LATER and key not in document:
                continue
            value = document.get(key)
            if key not in document or not is_valid(value):
                raise ValueError(key)
            setattr(state, name, ProcessId(*value) if value and key in PROCESSES else value)
        state._more = {key: value for key, value in document.items() if key not in FIELDS and key != HOST}
        return state

    def to_document(self) -> dict[str, Any]:
        """Return the content of state.json."""
        document: dict[str, Any] = {HOST: self.host.to_data(), **self._more}
        for key, (name, _is_valid) in FIELDS.items():
            value = getattr(self, name)
            if value or key not in LATER or (key == "nri" and self.starter):
                document[key] = [value.pid, value.start_time] if isinstance(value, ProcessId) else value
        return document

    def hooks_of(self, kind: str) -> tuple[Hook, ...]:
        """Return the hooks of one kind as create stored them, without parsing config.json again."""
        listed = self.hooks.get(kind)
        if not listed:
            return ()
        from runjail.spec.model import Hook

        return tuple(Hook(hook["path"], tuple(hook["args"]), tuple(hook["env"]), hook["timeout"]) for hook in listed)


def _host_state(data: object) -> HostState:
    if not isinstance(data, dict):
        raise ValueError(HOST)
    try:
        return HostState.from_data(data)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{HOST}.{error.args[0]}") from None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_annotations(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_process(value: object) -> bool:
    return value is None or (isinstance(value, list) and list(map(type, value)) == [int, str])


def _is_updates(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(amount, (int, str)) for amount in value.values())


def _is_lists(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(items, list) for items in value.values())


def _is_hooks(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(listed, list) and all(map(_is_hook, listed)) for listed in value.values()
    )


def _is_hook(value: object) -> bool:
    return (
        isinstance(value, dict)
        and _is_text(value.get("path"))
        and _is_texts(value.get("args"))
        and _is_texts(value.get("env"))
        and type(value.get("timeout", "")) in (int, type(None))
    )


HOST = "box"  # the key of what HostState holds
PROCESSES = ("creator", "starter")
LATER = ("starter", "nri", "updates", "updatedLists")  # come with the verbs that know them
FIELDS = {
    "ociVersion": ("oci_version", _is_text),
    "bundle": ("bundle", _is_text),
    "created": ("created", _is_text),
    "owner": ("owner", _is_text),
    "annotations": ("annotations", _is_annotations),
    "hooks": ("hooks", _is_hooks),
    "boot": ("boot_id", _is_text),
    "creator": ("creator", _is_process),
    "starter": ("starter", _is_process),
    "nri": ("nri_plugins", _is_texts),
    "updates": ("updates", _is_updates),
    "updatedLists": ("updated_lists", _is_lists),
}
