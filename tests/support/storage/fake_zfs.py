"""A zfs(8) in memory that can encrypt, with the messages of OpenZFS 2.4 on FreeBSD 15.1, and a record of all calls."""

import os
from collections.abc import Callable

import pytest

from runjail.host.programs import Result
from runjail.storage.zfs import ZfsStore
from runjail.storage.zfs_cli import Cli
from runjail.storage.zfs_open import open_at as open_zfs

PLAIN = {"type": "filesystem", "used": "100", "referenced": "200", "creation": "1700000000", "quota": "0"}


class FakeZfs:
    """Datasets by name, each with its properties. home: where the pool `tank` is mounted.

    eager: file systems are mounted as they are made, as zfs-fuse does.
    """

    eager = False

    def __init__(self, home: str, encryption: str = "enabled") -> None:
        self.home, self.encryption = home, encryption
        self.sets: dict[str, dict[str, str]] = {}
        self.keys: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.inputs: list[bytes] = []
        self.failing: dict[str, list[str]] = {}  # messages to give, by verb, before it works
        self._add("tank", {})
        self._mount("tank")

    def cli(self) -> Cli:
        return Cli("/sbin/zfs", "/sbin/zpool", self.run)

    def run(self, argv: tuple[str, ...], *, input: bytes = b"", timeout: float = 0, limit: int = 0) -> Result:
        self.calls.append(" ".join([os.path.basename(argv[0]), *argv[1:]]))
        self.inputs.append(input)
        if argv[0] == "/sbin/zpool":
            assert argv[1:-1] == ("get", "-H", "-o", "value", "feature@encryption")
            return Result(0, self.encryption.encode() + b"\n") if self.encryption else Result(2, b"", b"bad property")
        verb, *words = argv[1:]
        if self.failing.get(verb):
            return Result(1, b"", self.failing[verb].pop(0).encode())
        method: Callable[[list[str], bytes], str] = getattr(self, "do_" + verb.replace("-", "_"))
        try:
            return Result(0, method(words, input).encode())
        except KeyError as error:
            return Result(1, b"", f"cannot open '{error.args[0]}': dataset does not exist".encode())
        except ValueError as error:
            return Result(int(str(error).startswith("Key")) * 254 + 1, b"", str(error).encode())

    # -- verbs

    def do_get(self, words: list[str], _input: bytes) -> str:
        assert words[0] == "-Hp"
        recursive, words = words[1] == "-r", words[2:] if words[1] == "-r" else words[1:]
        assert words[:2] == ["-o", "name,property,value"]
        keys, names = words[2].split(","), words[3:]
        below = [name + mark for name in names for mark in ("/", "@")] if recursive else []
        chosen = [each for each in self.sets if each in names or each.startswith(tuple(below))]
        lines = []
        for name in chosen:
            shown = self.shown(name)
            lines += [f"{name}\t{key}\t{shown.get(key, '-')}\n" for key in (shown if keys == ["all"] else keys)]
        if not chosen:
            raise KeyError(names[0])
        return "".join(lines)

    def do_create(self, words: list[str], input: bytes) -> str:
        properties, (name,) = self._options(words)
        if name in self.sets:
            raise ValueError(f"cannot create '{name}': dataset already exists")
        if os.path.dirname(name) not in self.sets:
            raise ValueError(f"cannot create '{name}': parent does not exist")
        if "encryption" in properties:
            assert (properties["keyformat"], properties["keylocation"]) == ("raw", "prompt")
            assert len(input) == 32
            self.keys[name] = input
            properties |= {"encryptionroot": name, "loaded": "yes"}
        self._add(name, properties)
        if self.eager and properties.get("canmount") != "off":
            self._mount(name)
        return ""

    def do_clone(self, words: list[str], _input: bytes) -> str:
        properties, (origin, name) = self._options(words)
        if origin not in self.sets:
            raise KeyError(origin)
        self._add(name, {**properties, "origin": origin}, self.root_of(origin))
        if self.eager:
            self._mount(name)
        return ""

    def do_snapshot(self, words: list[str], _input: bytes) -> str:
        self._add(words[0], {"type": "snapshot"}, self.root_of(words[0].partition("@")[0]))
        return ""

    def do_destroy(self, words: list[str], _input: bytes) -> str:
        name = words[0]
        if name not in self.sets:
            raise KeyError(name)
        if any(found.get("origin") == name for found in self.sets.values()):
            raise ValueError(f"cannot destroy '{name}': snapshot has dependent clones")
        if any(each.startswith((name + "/", name + "@")) for each in self.sets):
            raise ValueError(f"cannot destroy '{name}': filesystem has children")
        del self.sets[name]
        return ""

    def do_mount(self, words: list[str], _input: bytes) -> str:
        root = self.root_of(words[0])
        if root and not self.sets[root].get("loaded"):
            raise ValueError(f"cannot mount '{words[0]}': encryption key not loaded")
        self._mount(words[0])
        return ""

    def do_unmount(self, words: list[str], _input: bytes) -> str:
        self.sets[words[0]]["mounted"] = "no"
        return ""

    def do_set(self, words: list[str], _input: bytes) -> str:
        key, _, value = words[0].partition("=")
        self.sets[words[1]][key] = value
        return ""

    def do_load_key(self, words: list[str], input: bytes) -> str:
        name = words[-1]
        assert words[:-1] in (["-L", "prompt"], ["-n", "-L", "prompt"])
        if "-n" not in words and self.sets[name].get("loaded"):
            raise ValueError(f"Key load error: Key already loaded for '{name}'.")
        if self.keys[name] != input:
            raise ValueError(f"Key load error: Incorrect key provided for '{name}'.")
        self.sets[name]["loaded"] = "yes"
        return ""

    def do_unload_key(self, words: list[str], _input: bytes) -> str:
        name = words[0]
        if not self.sets[name].get("loaded"):
            raise ValueError(f"Key unload error: Key already unloaded for '{name}'.")
        if any(found["mounted"] == "yes" and self.root_of(each) == name for each, found in self.sets.items()):
            raise ValueError(f"Key unload error: '{name}' is busy.")
        del self.sets[name]["loaded"]
        return ""

    # -- what is there

    def shown(self, name: str) -> dict[str, str]:
        found, root = self.sets[name], self.root_of(name)
        return {
            **PLAIN,
            "mountpoint": self.path(name),
            "encryption": "aes-256-gcm" if root else "off",
            "keystatus": ("available" if self.sets[root].get("loaded") else "unavailable") if root else "-",
            **found,
        }

    def path(self, name: str) -> str:
        return os.path.join(self.home, name.partition("/")[2])

    def root_of(self, name: str) -> str:
        """Return the encryption root that a dataset is under, "" for none."""
        return self.sets.get(name, {}).get("encryptionroot", "")

    def is_mounted(self, path: str) -> bool:
        return any(found["mounted"] == "yes" and self.path(name) == path for name, found in self.sets.items())

    def _add(self, name: str, properties: dict[str, str], root: str | None = None) -> None:
        root = self.root_of(os.path.dirname(name)) if root is None else root
        self.sets[name] = {"mounted": "no", **({"encryptionroot": root} if root else {}), **properties}

    def _mount(self, name: str) -> None:
        os.makedirs(self.path(name), exist_ok=True)
        self.sets[name]["mounted"] = "yes"

    def _options(self, words: list[str]) -> tuple[dict[str, str], list[str]]:
        found, words = {}, list(words)
        while words[0] == "-o":
            key, _, value = words[1].partition("=")
            found[key], words = value, words[2:]
        return found, words


def opened(zfs: FakeZfs) -> ZfsStore:
    """Return a store on it, with no calls noted yet."""
    store = open_zfs("tank/store", default="/var/db/runjail", warn=pytest.fail, zfs=zfs.cli())
    store._load = None  # whatever libzfs_core this machine has knows nothing of the fake
    zfs.calls.clear()
    zfs.inputs.clear()
    return store
