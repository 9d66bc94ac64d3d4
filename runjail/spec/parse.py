"""From config.json as a document to a checked `Spec`, or to one error that lists every problem.

The error names each with its JSON path. First the shape is judged (document.shaped), then what each value means.
"""

from __future__ import annotations

from runjail.spec.document import shaped
from runjail.spec.linux import ID_MAPPINGS, read_linux
from runjail.spec.model import FreeBSD, Hook, Hooks, IdMappings, Linux, Mount, Process, Root, Spec
from runjail.spec.problems import quote
from runjail.spec.process import read_environment, read_process, read_surroundings
from runjail.spec.reader import Reader, Report
from runjail.spec.resources import read_resources
from runjail.spec.unused import find_unused, unused_options
from runjail.target import TARGETS, Target

MOUNTS = 1000
JAIL_PREFIXES = ("org.freebsd.", "org.runjail.", "org.opencontainers.image.os")  # beginnings of annotations
HOOKS = {
    "prestart": "prestart",
    "createRuntime": "create_runtime",
    "createContainer": "create_container",
    "startContainer": "start_container",
    "poststart": "poststart",
    "poststop": "poststop",
}


def parse(document: object, os: str) -> Spec:
    """Check a whole config.json for the system that will run the container (a name of target.TARGETS).

    Raises InvalidConfig with every problem.
    """
    report, target = Report(), TARGETS[os]
    config = shaped(document, target.schema, report, "config.json")
    spec = Spec(
        oci_version=_read_version(config),
        root=_read_root(config.section("root")),
        process=_read_process(config, target),
        hostname=_read_hostname(config, "hostname", target),
        domainname=_read_hostname(config, "domainname", target),
        mounts=_read_mounts(config, target),
        hooks=_read_hooks(config.section("hooks")),
        annotations=_read_annotations(config.section("annotations")),
        freebsd=_read_freebsd(config),  # the Linux host takes from it what Linux has too
        linux=_read_linux(config, target),
    )
    report.raise_if_any("config.json")
    seccomp = spec.linux.seccomp
    unused = find_unused(config.values, target, seccomp is not None and bool(seccomp.listener))
    return spec.replace(unused=(*unused, *unused_options(spec.mounts, target)))


def _read_version(config: Reader) -> str:
    """Anything 1.x.y is compatible (runtime-spec, versioning); clients add suffixes such as -dev."""
    version = config.text("ociVersion")
    core = version.replace("+", "-").partition("-")[0].split(".")
    known = len(core) == 3 and core[0] == "1" and all(part.isascii() and part.isdecimal() for part in core)
    if not known and config.has("ociVersion"):
        config.refuse(f"must be version 1.x.y of the runtime specification, not {quote(version)}", "ociVersion")
    return version


def _read_process(config: Reader, target: Target) -> Process | None:
    process = read_process(config.section("process"), target)
    if not target.jails:
        process = read_surroundings(process, config.section("linux"))
    return process if config.has("process") else None


def _read_root(root: Reader) -> Root:
    path = root.text("path")
    if not path and root.has("path") and root.report.clean("root"):
        root.refuse("must not be empty", "path")
    return Root(path, root.flag("readonly"))


def _read_hostname(config: Reader, key: str, target: Target) -> str | None:
    name = config.text(key)
    if len(name) > target.hostname_max:
        config.refuse(f"must be at most {target.hostname_max} characters long, not {len(name)}", key)
    elif not name.isascii() or not name.isprintable() or " " in name:
        config.refuse(f"must be printable ASCII without blanks, not {quote(name)}", key)
    return name or None


def _read_mounts(config: Reader, target: Target) -> tuple[Mount, ...]:
    mounts = tuple(_read_mount(item, target) for item in config.sections("mounts"))
    if len(mounts) > MOUNTS:
        config.refuse(f"must hold at most {MOUNTS} mounts, not {len(mounts)}", "mounts")
    return mounts


def _read_mount(mount: Reader, target: Target) -> Mount:
    destination = mount.text("destination")
    if destination and not target.jails:
        destination = "/" + destination.removeprefix("/")  # relative is deprecated, but Linux bundles may be
    else:
        destination = mount.absolute("destination")
    options = _read_options(mount, target)
    return Mount(destination, mount.text("type"), mount.text("source"), options, _read_mappings(mount, target))


def _read_mappings(mount: Reader, target: Target) -> IdMappings | None:
    mapped = [key for key in ID_MAPPINGS if mount.values.get(key)]
    for key in mapped if target.jails else ():
        mount.refuse("is not supported", key)
    if target.jails or not mapped:
        return None
    from runjail.spec.id_mappings import read_mappings

    return read_mappings(mount, root=False)


def _read_options(mount: Reader, target: Target) -> tuple[str, ...]:
    options = []
    for index, option in mount.texts("options"):
        if target.jails and option in ("idmap", "ridmap"):
            mount.refuse(f"{option} is not supported", "options", index)
        elif any(character < " " for character in option):
            mount.refuse(f"must not contain control characters: {quote(option)}", "options", index)
        if option:
            options.append(option)
    return tuple(options)


def _read_hooks(hooks: Reader) -> Hooks:
    return Hooks(**{field: tuple(_read_hook(item) for item in hooks.sections(key)) for key, field in HOOKS.items()})


def _read_hook(hook: Reader) -> Hook:
    args = tuple(text for _, text in hook.texts("args"))
    return Hook(hook.absolute("path"), args, read_environment(hook), hook.number("timeout"))


def _read_annotations(annotations: Reader) -> tuple[tuple[str, str], ...]:
    if "" in annotations.values:
        annotations.refuse("keys must not be empty")
    return tuple((key, value) for key, value in annotations.values.items() if value is not None)


def _read_freebsd(config: Reader) -> FreeBSD:
    """Read what is said of the jail; most Linux containers say nothing, and its readers are not loaded then."""
    keys = config.section("annotations").values
    if not config.has("freebsd") and not any(key.startswith(JAIL_PREFIXES) for key in keys):
        return FreeBSD()
    from runjail.spec.freebsd import read_freebsd

    return read_freebsd(config)


def _read_linux(config: Reader, target: Target) -> Linux:
    """On FreeBSD only the limits of the Linux section mean something; podman and containerd always send all of it."""
    section = config.section("linux")
    if target.jails:
        return Linux(resources=read_resources(section.section("resources")))
    linux = read_linux(section)
    if linux.namespaces is not None and not any(namespace.type == "uts" for namespace in linux.namespaces):
        for key in ("hostname", "domainname"):
            if config.text(key) and config.report.clean(key):
                config.refuse("needs a uts namespace", key)
    for key, value in linux.sysctl:
        if key.replace("/", ".") == "kernel.domainname" and config.text("domainname") not in ("", value):
            section.refuse("contradicts domainname", "sysctl", key)
    return linux
