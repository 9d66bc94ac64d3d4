"""config.json's contents in, a Plan out. Pure: looks at nothing but its arguments."""

from runjail.errors import InvalidConfig
from runjail.jail.name import jail_name
from runjail.jail.paths import absolute
from runjail.steps import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.spec.model import Spec


def make_plan(spec: "Spec", *, container_id: str, bundle: str, state: str, os: str) -> Plan:
    """Return all that `create` has to do for this container on a host of kind `os` (`freebsd` or `linux`).

    bundle, state: absolute paths of the bundle and of the container's state directory.
    Raises InvalidConfig with every problem and its JSON path, UsageError when the id makes too long a jail name.
    """
    problems: list[str] = []
    source = absolute(spec.root.path, bundle)
    if os == "freebsd":
        from runjail.jail import freebsd

        name = jail_name(container_id, _parent(spec, problems))
        root, steps = freebsd.plan_steps(spec, name, container_id, source, bundle, state, problems)
    else:
        from runjail.jail import linux

        name, root = jail_name(container_id), source
        steps = linux.plan_steps(spec, name, container_id, bundle, problems)
    _check_text(spec, problems)
    if problems:
        raise InvalidConfig(problems)
    return Plan(os, name, source, root, steps)


def _parent(spec: "Spec", problems: list[str]) -> str | None:
    """Return freebsd.jail.parent; a name that rctl(8) or the kernel would misread is a problem."""
    parent = spec.freebsd.jail.parent
    if parent is None:
        return None
    if "" in parent.split(".") or not (parent.isascii() and parent.isprintable()) or set(parent) & set(" :/*"):
        problems.append(f"freebsd.jail.parent: {parent!r} cannot be the name of a jail")
        return None
    return parent


def _check_text(spec: "Spec", problems: list[str]) -> None:
    """Refuse control characters in what becomes a path, an argument or a line: a kernel stops reading at a NUL."""
    texts = [("root.path", spec.root.path), ("hostname", spec.hostname), ("domainname", spec.domainname)]
    for i, mount in enumerate(spec.mounts):
        texts += [(f"mounts[{i}].destination", mount.destination), (f"mounts[{i}].source", mount.source)]
        texts += [(f"mounts[{i}].options[{j}]", text) for j, text in enumerate(mount.options)]
    for where, text in texts:
        if text and any(character < " " or character == "\x7f" for character in text):
            problems.append(f"{where}: contains a control character")
