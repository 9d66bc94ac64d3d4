"""Who sees which addresses: jail parameters, and the aliases and interfaces that go with them.

Nothing said means what podman and containerd mean by it, and what they say nothing about: the network of the host (or
of the parent jail). Once the document says anything about addresses, the rest keeps the kernel's default: none.
"""

from __future__ import annotations

from runjail import steps
from runjail.spec.model import Jail

FAMILIES = {"ip4": ("inet", 32), "ip6": ("inet6", 128)}  # by parameter: ifconfig(8)'s word, bits of an address


class Network:
    """What a jail's network needs: params of the jail, aliases before it exists, steps once it does."""

    def __init__(self, jail: Jail, problems: list[str]) -> None:
        self.params: list[tuple[str, str | None]] = []
        self.aliases: list[steps.Step] = []
        self.inside: list[steps.Step] = []
        if jail.vnet == "new":
            self.params.append(("vnet", "new"))
            self.inside += [steps.MoveInterface(interface) for interface in jail.vnet_interfaces]
            self.inside.append(steps.Loopback())
        else:
            # `vnet=inherit` is the kernel's default, and saying so would make every parameter below invalid.
            for family in FAMILIES:
                self._share(jail, family, problems)

    def _share(self, jail: Jail, family: str, problems: list[str]) -> None:
        """Let the jail use addresses of the network stack that it shares."""
        mode, addresses = (jail.ip4, jail.ip4_addr) if family == "ip4" else (jail.ip6, jail.ip6_addr)
        if mode == "inherit" and addresses:
            problems.append(
                f'freebsd.jail.{family}: "inherit" contradicts {family}Addr, of which the kernel takes only one'
            )
        if not (jail.ip4 or jail.ip6 or jail.ip4_addr or jail.ip6_addr):
            mode = "inherit"
        if mode:
            self.params.append((family, mode))
        if addresses:
            self.params.append(
                (f"{family}.addr", ",".join(self._use(text, family, jail.interface) for text in addresses))
            )

    def _use(self, text: str, family: str, interface: str | None) -> str:
        """Return the bare address of `[INTERFACE|]ADDRESS[/PREFIX]` and note its alias."""
        named, _, rest = text.rpartition("|")
        address, _, prefix = rest.partition("/")
        inet, bits = FAMILIES[family]
        if named or interface:
            self.aliases.append(steps.AddressAlias(named or interface or "", inet, f"{address}/{prefix or bits}"))
        return address
