"""Container id to jail name and back.

podman, buildah, ps(1), ifconfig(8) and rctl(8) address a container's jail by the container's id, so the name is the
id itself wherever the kernel lets a jail be called that. Two kinds of ids cannot be names: in a name a dot separates
parent and child, and digits alone are taken for a jail number. Those characters are written as in a URL:

    web-1   -> web-1          a.b  -> a%2Eb          1234 -> %31234

Jails of all state directories of a machine share their names. Where another jail has the name already, the container's
is `NAME~HASH` with a number made of its state directory's path, so the same id can run below two of them.

No id may contain `%` or `~`, so the mapping can be read backwards. See jail(8) under `name`.
"""

from __future__ import annotations

from runjail.errors import UsageError

NAME_MAX = 255  # bytes of the full name, parents included; the kernel's MAXHOSTNAMELEN less one
PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-")


def jail_name(container_id: str, parent: str | None = None) -> str:
    """Return the full name of the container's jail, `PARENT.NAME` when it has a parent.

    Raises UsageError when the kernel would not take the name for its length.
    """
    name = "".join(character if character in PLAIN else _escape(character) for character in container_id)
    if name.isdecimal():
        name = _escape(name[0]) + name[1:]
    full = f"{parent}.{name}" if parent else name
    if not 0 < len(full.encode()) <= NAME_MAX:
        length = len(full.encode())
        raise UsageError(f"jail name for container {container_id!r}: {length} bytes, the kernel takes 1 to {NAME_MAX}")
    return full


def other_name(name: str, state: str) -> str:
    """Return what the jail is called where another one is called `name`, "" when that would be too long.

    state: the container's state directory; containers of one root get one number.
    """
    number = 0
    for byte in state.rpartition("/")[0].encode("utf-8", "surrogateescape"):
        number = (number * 1000003 ^ byte) & 0xFFFFFFFF
    other = f"{name}~{number:08x}"
    return other if len(other.encode()) <= NAME_MAX else ""


def container_id(name: str) -> str:
    """Return the container id behind a jail name that jail_name made; parents are ignored."""
    head, *escaped = name.rpartition(".")[2].partition("~")[0].split("%")
    data = head.encode()
    for piece in escaped:
        data += bytes([int(piece[:2], 16)]) + piece[2:].encode()
    return data.decode()


def _escape(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())
