"""rtnetlink(7): what we ask the kernel about network interfaces, and have it change."""

from __future__ import annotations

import errno
import os
import struct
from _socket import AF_NETLINK, SOCK_RAW, socket

from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port
LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, which of them to change
ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, length of the prefix, flags, scope, index
ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR = 16, 17, 18, 20, 22
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x300, 0x200, 0x400
IFLA_IFNAME, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_FD = 3, 10, 18, 28
IFLA_INFO_KIND = 1
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
WHICH = (IFA_LOCAL, IFA_ADDRESS, IFA_BROADCAST)  # what says which address it is
IFA_F_PERMANENT, RT_SCOPE_UNIVERSE = 0x80, 0
IFF_UP = 1
LONGEST = 1 << 16  # bytes of what one read returns


def attribute(kind: int, value: bytes) -> bytes:
    """Return a struct rtattr with its value, padded."""
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes of a message by their types."""
    found = {}
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        if length < ATTRIBUTE.size:
            break
        found[kind] = data[ATTRIBUTE.size : length]
        data = data[length + -length % 4 :]
    return found


class Address(Record):
    """An address of an interface. prefix: its length; which: the attributes that say which one it is."""

    family: int
    prefix: int
    scope: int
    flags: int
    which: bytes

    def lasts(self) -> bool:
        """Say whether it is permanent (no DHCP lease or the like will end it) and of global scope."""
        return bool(self.flags & IFA_F_PERMANENT) and self.scope == RT_SCOPE_UNIVERSE


class RouteSocket:
    """A socket to the network namespace that this process was in when it was made. Methods raise OSError."""

    def __init__(self) -> None:
        self._socket = socket(AF_NETLINK, SOCK_RAW, 0)
        self._sequence = 0

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def links(self) -> dict[int, tuple[str, bool]]:
        """Return the interfaces by their index: the name, and whether it is up."""
        found = {}
        for message in self._dump(RTM_GETLINK, LINK.pack(0, 0, 0, 0, 0)):
            name = attributes(message[LINK.size :]).get(IFLA_IFNAME, b"")
            _, _, index, flags, _ = LINK.unpack_from(message)
            found[index] = os.fsdecode(name.rstrip(b"\0")), bool(flags & IFF_UP)
        return found

    def bridges(self) -> dict[str, tuple[int, int]]:
        """Return the bridges by name: the index, and how many interfaces are ports of it."""
        found, masters = {}, []
        for message in self._dump(RTM_GETLINK, LINK.pack(0, 0, 0, 0, 0)):
            facts = attributes(message[LINK.size :])
            masters.append(facts.get(IFLA_MASTER, b""))
            if attributes(facts.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_KIND, b"").rstrip(b"\0") == b"bridge":
                name = os.fsdecode(facts.get(IFLA_IFNAME, b"").rstrip(b"\0"))
                found[name] = LINK.unpack_from(message)[2]
        return {name: (index, masters.count(struct.pack("=I", index))) for name, index in found.items()}

    def set_up(self, index: int, up: bool) -> None:
        """Bring an interface up or down."""
        self._change(RTM_NEWLINK, LINK.pack(0, 0, index, IFF_UP if up else 0, IFF_UP))

    def remove(self, index: int) -> None:
        """Delete an interface that is no device."""
        self._change(RTM_DELLINK, LINK.pack(0, 0, index, 0, 0))

    def move(self, index: int, name: str, namespace: int) -> None:
        """Move an interface to the network namespace behind a descriptor, under a name, both or nothing."""
        wanted = attribute(IFLA_IFNAME, os.fsencode(name) + b"\0") + attribute(
            IFLA_NET_NS_FD, struct.pack("=I", namespace)
        )
        self._change(RTM_NEWLINK, LINK.pack(0, 0, index, 0, 0) + wanted)

    def addresses(self, index: int) -> list[Address]:
        """Return an interface's addresses."""
        found = []
        for message in self._dump(RTM_GETADDR, ADDRESS.pack(0, 0, 0, 0, 0)):
            family, prefix, flags, scope, owner = ADDRESS.unpack_from(message)
            facts = attributes(message[ADDRESS.size :])
            if owner == index:
                wide = facts.get(IFA_FLAGS, b"")
                flags = struct.unpack("=I", wide)[0] if len(wide) == 4 else flags
                which = b"".join(attribute(kind, facts[kind]) for kind in WHICH if kind in facts)
                found.append(Address(family, prefix, scope, flags, which))
        return found

    def add_address(self, index: int, address: Address) -> None:
        """Add an address to an interface."""
        body = ADDRESS.pack(address.family, address.prefix, 0, 0, index) + address.which
        self._change(RTM_NEWADDR, body, NLM_F_CREATE | NLM_F_EXCL)

    def _change(self, kind: int, body: bytes, flags: int = 0) -> None:
        self._send(kind, body, NLM_F_ACK | flags)
        for answer, message in self._receive():
            if answer == NLMSG_ERROR:
                number = -struct.unpack_from("=i", message)[0]
                if number:
                    raise OSError(number, os.strerror(number))
                return

    def _dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        self._send(kind, body, NLM_F_DUMP)
        while True:
            for answer, message in self._receive():
                if answer == NLMSG_DONE:
                    return
                if answer == NLMSG_ERROR:
                    number = -struct.unpack_from("=i", message)[0]
                    raise OSError(number, os.strerror(number))
                yield message

    def _send(self, kind: int, body: bytes, flags: int) -> None:
        self._sequence += 1
        self._socket.send(HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | flags, self._sequence, 0) + body)

    def _receive(self) -> list[tuple[int, bytes]]:
        """Return the messages of one read: type and content."""
        data, found = self._socket.recv(LONGEST), []
        while len(data) >= HEADER.size:
            length, kind = HEADER.unpack_from(data)[:2]
            if length < HEADER.size:
                raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
            found.append((kind, data[HEADER.size : length]))
            data = data[length + -length % 4 :]
        return found
