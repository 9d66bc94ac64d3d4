"""Who sees which addresses: jail parameters, and the aliases and interfaces that go with them.

Nothing said means what podman and containerd mean by it, and what they say nothing about: the network of the host (or
of the parent jail). Once the document says anything about addresses, the rest keeps the kernel's default: none.
"""

from runjail import steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.spec.model import Jail

FAMILIES = (("4", "inet", 32), ("6", "inet6", 128))


class Network:
    """What a jail's network needs: params of the jail, aliases before it exists, steps once it does."""

    def __init__(self, jail: "Jail", problems: list[str]) -> None:
        self.params: list[tuple[str, str | None]] = []
        self.aliases: list[steps.Step] = []
        self.inside: list[steps.Step] = []
        if jail.vnet == "new":
            self._own_stack(jail, problems)
        else:
            self._shared_stack(jail, problems)

    def _own_stack(self, jail: "Jail", problems: list[str]) -> None:
        # The kernel refuses vnet together with any word about ip4 or ip6, "inherit" and "disable" included.
        said = {"ip4": jail.ip4, "ip4Addr": jail.ip4_addr, "ip6": jail.ip6, "ip6Addr": jail.ip6_addr}
        for field, value in said.items():
            if value:
                problems.append(f"freebsd.jail.{field}: addresses of a vnet are set inside it, not by the jail")
        self.params.append(("vnet", "new"))
        for i, interface in enumerate(jail.vnet_interfaces):
            _check_interface(interface, f"freebsd.jail.vnetInterfaces[{i}]", problems)
            self.inside.append(steps.MoveInterface(interface))
        self.inside.append(steps.Loopback())

    def _shared_stack(self, jail: "Jail", problems: list[str]) -> None:
        # `vnet=inherit` is the default, and saying so would make every parameter below invalid.
        if jail.vnet_interfaces:
            problems.append('freebsd.jail.vnetInterfaces: only a jail with vnet "new" can own interfaces')
        if jail.interface:
            _check_interface(jail.interface, "freebsd.jail.interface", problems)
        silent = not (jail.ip4 or jail.ip6 or jail.ip4_addr or jail.ip6_addr)
        for digit, family, bits in FAMILIES:
            field = f"ip{digit}"
            mode = "inherit" if silent else getattr(jail, field)
            texts = getattr(jail, f"{field}_addr")
            if texts and mode in ("inherit", "disable"):
                problems.append(f'freebsd.jail.{field}: "{mode}" contradicts {field}Addr')
            addresses = [
                self._address(text, family, bits, jail.interface or "", f"freebsd.jail.{field}Addr[{i}]", problems)
                for i, text in enumerate(texts)
            ]
            if mode:
                self.params.append((field, mode))
            if addresses:
                self.params.append((f"{field}.addr", ",".join(dict.fromkeys(addresses))))

    def _address(self, text: str, family: str, bits: int, interface: str, where: str, problems: list[str]) -> str:
        """Return the bare address of `[INTERFACE|]ADDRESS[/PREFIX]` and note its alias."""
        named, bar, rest = text.rpartition("|")
        address, slash, prefix = rest.partition("/")
        if not _is_address(address, family):
            problems.append(f"{where}: {address!r} is not an {family} address in numbers")
        if slash and not (prefix.isascii() and prefix.isdecimal() and int(prefix) <= bits):
            problems.append(f"{where}: /{prefix} is not a prefix length up to {bits}")
        if bar:
            _check_interface(named, where, problems)
        if named or interface:
            self.aliases.append(steps.Alias(named or interface, family, f"{address}/{prefix or bits}"))
        return address


def _is_address(text: str, family: str) -> bool:
    import _socket

    try:
        _socket.inet_pton(_socket.AF_INET if family == "inet" else _socket.AF_INET6, text)
    except (OSError, ValueError):  # ValueError: a NUL byte
        return False
    return True


def _check_interface(name: str, where: str, problems: list[str]) -> None:
    plain = name.replace("_", "").replace(".", "").replace(":", "").replace("-", "")
    if not (plain.isascii() and plain.isalnum() and len(name) < 16) or name.startswith("-"):
        problems.append(f"{where}: {name!r} cannot be the name of an interface")
