"""One container's part of one network: what its plugins are called with, and what they say.

CNI specification 1.1, sections 2 to 5.

An attachment is an undo note, too: all that DEL takes is in it, whatever becomes of the list's file meanwhile.
"""

from __future__ import annotations

from runjail.errors import NetworkError
from runjail.network import plugins
from runjail.network.lists import CHECKED, PORTS, NetworkList, takes
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Result = dict[str, Any]

NOTE = "network"
# portmap 1.1 looks for rules of IPv6 where a container has none of its addresses, once those of IPv4 have been found in
# order: github.com/containernetworking/plugins, issue 819
NO_RULES = "CNI plugin portmap: CHECK: could not check ipv6 dnat: chain "


class Attachment(Record):
    """What plugins are told of a container, and the result of ADD, {} before there is one.

    network, version, configurations, checks: of the list. id: the container's for plugins, one on the machine. name:
    what people call it. namespace: its network namespace or jail; interface: its name in there. ports: as the
    capability portMappings has them. directories: of plugins; timeout: seconds of a call.
    """

    network: str
    version: str
    configurations: tuple[dict[str, Any], ...]
    checks: bool
    id: str
    name: str
    namespace: str
    interface: str
    ports: tuple[dict[str, Any], ...]
    directories: tuple[str, ...]
    timeout: float
    result: Result = {}

    def add(self) -> Result:
        """Call every plugin, each with the result of the one before. Returns the last one. Raises NetworkError."""
        for configuration in self.configurations:  # before anything is made
            plugins.find(configuration["type"], self.directories)
        result: Result = {}
        for configuration in self.configurations:
            result = self._call("ADD", configuration, result, self.namespace)
            if not isinstance(result.get("ips", []), list | None):
                raise NetworkError(f"CNI plugin {configuration['type']}: ADD: its result has ips that are no list")
        return result

    def delete(self, there: bool) -> list[str]:
        """Call every plugin, the last first. Returns what went wrong: each gets its turn.

        there: whether the namespace still exists.
        """
        failures = []
        result = self.result if self.version in CHECKED else {}
        for configuration in reversed(self.configurations):
            try:
                self._call("DEL", configuration, result, self.namespace if there else "")
            except NetworkError as error:
                failures.append(str(error))
        return failures

    def check(self) -> bool:
        """Ask every plugin whether all is as ADD made it. False where nobody may ask. Raises NetworkError."""
        if not self.checks or self.version not in CHECKED:
            return False
        for configuration in self.configurations:
            try:
                self._call("CHECK", configuration, self.result, self.namespace)
            except NetworkError as error:
                if NO_RULES not in str(error) or any(":" in each for each in addresses(self.result)):
                    raise
        return True

    def _call(self, command: str, configuration: dict[str, Any], before: Result, namespace: str) -> Result:
        request = {key: value for key, value in configuration.items() if key not in ("capabilities", "prevResult")}
        request |= {"cniVersion": self.version, "name": self.network}
        if arguments := self._arguments(configuration):
            request["runtimeConfig"] = arguments
        if before:
            request["prevResult"] = before
        words = {
            "CNI_CONTAINERID": self.id,
            "CNI_NETNS": namespace,
            "CNI_IFNAME": self.interface,
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAME={self.name}",  # what dnsname serves, as podman has it
        }
        try:
            kind = configuration["type"]
            return plugins.call(command, kind, request, words, self.directories, self.timeout)
        except NetworkError as error:
            raise NetworkError(f"network {self.network}: {error}", error.hint) from None

    def _arguments(self, configuration: dict[str, Any]) -> dict[str, Any]:
        """Return what of our arguments the plugin asks for."""
        offered = {PORTS: list(self.ports), "aliases": {self.network: [self.name]}}
        return {name: value for name, value in offered.items() if value and takes(configuration, name)}

    def to_note(self, result: Result | None = None) -> dict[str, Any]:
        """Return the undo note; with the result once it is there."""
        facts = {name: getattr(self, name) for name in self._fields}
        facts |= {"configurations": list(self.configurations), "ports": list(self.ports)}
        return {"undo": NOTE, **facts, "directories": list(self.directories), "result": result or self.result}


def from_notes(notes: list[dict[str, Any]]) -> list[Attachment]:
    """Return the attachments that undo notes tell of, the last made first, each as its last note has it."""
    found: dict[tuple[str, str], Attachment] = {}
    for note in notes:
        if note["undo"] == NOTE:
            facts = {name: note[name] for name in Attachment._fields}
            for name in ("configurations", "ports", "directories"):
                facts[name] = tuple(facts[name])
            found[note["network"], note["interface"]] = Attachment(**facts)
    return list(found.values())[::-1]


def addresses(result: Result) -> list[str]:
    """Return the addresses that a result gives the container, without their prefixes."""
    listed = [entry.get("address") for entry in result.get("ips") or [] if isinstance(entry, dict)]
    return [text.partition("/")[0] for text in listed if isinstance(text, str)]


def gateways(result: Result) -> list[str]:
    """Return the gateways that a result names."""
    listed = [entry.get("gateway") for entry in result.get("ips") or [] if isinstance(entry, dict)]
    return [text for text in listed if isinstance(text, str) and text]


def resolver(result: Result) -> dict[str, tuple[str, ...]]:
    """Return what a result says of name servers: nameservers, search and options (section 5, dns)."""
    dns = result.get("dns")
    dns = dns if isinstance(dns, dict) else {}
    found = {name: _words(dns.get(name)) for name in ("nameservers", "search", "options")}
    domain = _words([dns.get("domain")])
    return {**found, "search": found["search"] or domain}


def _words(value: object) -> tuple[str, ...]:
    """Return the texts of a list that can stand in resolv.conf."""
    listed = value if isinstance(value, list) else []
    return tuple(text for text in listed if isinstance(text, str) and text.isprintable() and text and " " not in text)


def attachments(
    lists: list[NetworkList], ports: list[dict[str, Any]], common: dict[str, Any]
) -> tuple[Attachment, ...]:
    """Return the attachments of one container: eth0, eth1 and so on, ports to the first list that can publish some.

    common: the fields of all of them: id, name, namespace, directories, timeout.
    """
    publishes = next((each for each in lists if each.can(PORTS)), None)
    return tuple(
        Attachment(
            network=each.name,
            version=each.version,
            configurations=each.plugins,
            checks=each.checks,
            interface=f"eth{number}",
            ports=tuple(ports) if each is publishes else (),
            **common,
        )
        for number, each in enumerate(lists)
    )
