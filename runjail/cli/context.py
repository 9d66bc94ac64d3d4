"""What a verb gets besides its options: host, state directories, settings, plugins, stdout."""

from __future__ import annotations

import os
import sys

from runjail.cli.args import Args

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.container.container import Runtime
    from runjail.host.base import Host
    from runjail.nri.invoke import PluginChain
    from runjail.spec.model import IdMappings
    from runjail.target import Target

SETTINGS = ("/usr/local/etc/runjail.toml", "/etc/runjail.toml")  # the first that exists, without $RUNJAIL_CONFIG
NRI = ("/etc/nri", "/usr/local/etc/nri")  # where plugins are configured on any system (target.nri_dirs)


class Context:
    """What a command line means besides its verb's own options.

    parsed: the global options. rest: the words of the verb's `CMD...`. preserve: how many descriptors from 3 on go to
    the program, listen: how many of them are systemd's (sd_listen_fds(3)). ordinary: of Linux, who is not root.
    entered: the ids of the user namespace whose root this process became for one.
    """

    def __init__(self, parsed: Args, rest: list[str] | None = None, preserve: int = 0, listen: int = 0) -> None:
        root = parsed.text("root") or os.environ.get("RUNJAIL_ROOT", "")
        self.root = os.path.abspath(root) if root else ""
        self.location = parsed.text("store") or os.environ.get("RUNJAIL_STORE", "")
        self.nri_bin = os.path.abspath(parsed.text("nri-bin")) if parsed.text("nri-bin") else ""
        self.systemd = parsed.flag("systemd-cgroup") or parsed.text("cgroup-manager") == "systemd"
        self.ordinary = os.geteuid() != 0 and sys.platform == "linux"  # has user namespaces instead of root's rights
        self.entered: IdMappings | None = None
        self.rest = rest or []
        self.preserve = preserve
        self.listen = listen

    def host(self) -> Host:
        """Return the host of this machine."""
        if sys.platform.startswith("freebsd"):
            from runjail.host.freebsd.host import FreeBSDHost

            return FreeBSDHost()
        from runjail.host.linux.host import LinuxHost

        return LinuxHost()

    def runtime(self) -> Runtime:
        """Return the containers of this machine below --root."""
        from runjail.container.container import Runtime, default_root

        host = self.host()
        root = self.root or default_root(self._target(host))
        return Runtime(host, root, lambda: self.plugins(host), self.allowed_params)

    @staticmethod
    def _target(host: Host) -> Target:
        from runjail.target import TARGETS

        return TARGETS[host.os]

    def own_ids(self) -> IdMappings | None:
        """Return what a user namespace of our own has, None for root, who needs none, and on FreeBSD."""
        if not self.ordinary or os.geteuid() == 0:
            return None
        from runjail.host.linux import own_ids

        return own_ids.mappings()

    def apart(self, work: Callable[[], None]) -> None:
        """Do something in a store of images: as root, or as root of a user namespace of our own."""
        ids = self.own_ids()
        if ids is None:
            work()
            return
        from runjail.host.linux import own_ids

        own_ids.call(ids, work)

    def enter_own_ids(self) -> int | None:
        """Go on as root of a user namespace of our own, where there can be one: returns None there, and who needs none.

        Our caller's process, which only waits, gets the exit code.
        """
        ids = self.own_ids()
        if ids is None:
            return None
        from runjail import log, signals
        from runjail.errors import HostError
        from runjail.host.linux import own_ids

        try:
            pid = own_ids.fork(ids)
        except HostError as error:
            log.info(f"files of images cannot have owners: {error}")
            return None
        if pid:
            return own_ids.accompany(pid)
        signals.catch()
        self.entered = ids
        return None

    def store_root(self, location: str = "auto") -> str:
        """Return the directory of a store that is on no dataset. Raises UsageError for a user without a home.

        location: of the store; one that names another directory needs neither, and "" is returned.
        """
        from runjail.storage.open import names_directory

        if names_directory(location):
            return ""
        if not self.ordinary:
            return self._target(self.host()).store_root
        data = os.environ.get("XDG_DATA_HOME") or (os.environ.get("HOME") and f"{os.environ['HOME']}/.local/share")
        if not data:
            from runjail.errors import UsageError

            raise UsageError("no directory for images", "who is not root has it with HOME, XDG_DATA_HOME or --store")
        return f"{os.path.abspath(data)}/runjail"

    def own_store(self) -> tuple[str, str] | None:
        """Return an ordinary user's store and why it is that: mounts, which others have, end with who has made them."""
        return (f"dir:{self.store_root()}", "who is not root has it in a directory") if self.ordinary else None

    def settings(self) -> str:
        """Return the path of runjail.toml, "" when there is none."""
        return os.environ.get("RUNJAIL_CONFIG") or next((path for path in SETTINGS if os.path.exists(path)), "")

    def allowed_params(self) -> tuple[str, list[str]]:
        """Return where runjail.toml is or would be, and which permissions it grants to annotations."""
        path = self.settings()
        if not path:
            return SETTINGS[0], []
        from runjail.settings import read

        return path, read(path)["jail"].get("allow", [])

    def plugins(self, host: Host) -> PluginChain | None:
        """Return the NRI plugins that are configured. Where nothing is, this costs a look at a few names."""
        settings = self.settings()
        names = [f"{place}/{name}" for place in NRI for name in ("conf.json", "resource.d")]
        if not settings and not any(map(os.path.lexists, names)):
            return None
        from runjail.nri.invoke import configured

        target = self._target(host)
        own = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(sys.argv[0]))), "libexec/runjail/nri")
        programs = (*target.nri_bins, own)
        chain = configured(target.nri_dirs, programs, settings, self.nri_bin)
        return chain if chain.plugins else None


def write_stdout(text: str) -> int:
    """Write to standard output, whole. Returns exit code 0."""
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(1, data) :]
    return 0
