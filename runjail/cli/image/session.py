"""What the verbs of images share: the store, settings, keys, and how a word becomes an image."""

from __future__ import annotations

import os

from runjail import jsonio, log
from runjail.cli.args import Args, find, number
from runjail.cli.context import Context, write_stdout
from runjail.cli.image import names
from runjail.cli.image.options import compression
from runjail.cli.named_option import named
from runjail.cli.output import choice
from runjail.errors import ImageNotFound, RunjailError, StoreNotFound
from runjail.image import platform, resolve
from runjail.image import reference as references
from runjail.image.content import open as places
from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor, Platform
from runjail.image.reference import Reference
from runjail.image.resolve import Image
from runjail.scope import scope
from runjail.storage.base import Store
from runjail.target import this_system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from runjail.cli.progress import Progress
    from runjail.image.bundle.unpack import Unpacked
    from runjail.image.crypto.keyprovider_config import Provider
    from runjail.image.crypto.options import Parameters
    from runjail.image.registry.registries_conf import Registries
    from runjail.image.transport import Sink
    from runjail.image.trust.gate import Gate

    Arrived = Callable[[str], None]
    Use = Callable[[str, Descriptor, Arrived, Progress], None]

MAX_JOBS = 64


class ImageSession:
    """What one command line needs of images. store and content are opened when they are first used.

    make: make the store where there is none. Raises ImageError for an --authfile that cannot be read.
    """

    def __init__(self, args: Args, context: Context, *, make: bool = True) -> None:
        self.args, self.context, self.make = args, context, make
        if self.text("authfile"):  # checked even where no credentials are needed, as by podman and buildah
            from runjail.image.registry.credentials import check

            check(self.text("authfile"))
        self._store: Store | None = None
        self._chosen: tuple[str, str] | None = None
        self._content: ContentStore | None = None
        self._settings: dict[str, dict[str, Any]] | None = None
        self._gate: Gate | None = None
        self._registries: Registries | None = None
        self.sign: Callable[[Sink, Sequence[Descriptor]], None] | None = None  # signs what is sent

    def text(self, option: str) -> str:
        """Return an option's value, "" where the verb does not have it."""
        return self.args.text(option) if self.args.takes(option) else ""

    def flag(self, option: str) -> bool:
        """Say whether a flag was given to a verb that has it."""
        return self.args.takes(option) and self.args.flag(option)

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """runjail.toml, or nothing."""
        if self._settings is None:
            path = self.context.settings()
            if path:
                from runjail.settings import read

                self._settings = read(path)
            else:
                self._settings = {}
        return self._settings

    def setting(self, section: str, key: str, default: Any = None) -> Any:
        """Return one key of runjail.toml."""
        return self.settings.get(section, {}).get(key, default)

    @property
    def store(self) -> Store:
        """Where layers and roots are."""
        if self._store is None:
            from runjail.storage.open import open_store

            location, why = self._choice()
            log.info(f"store {location}: {why}")
            self._store = open_store(location, default=self._default, make=self.make)
        return self._store

    @property
    def _default(self) -> str:
        """The directory of a store that is on no dataset, for `auto`."""
        return self.context.store_root(self.location)

    def _choice(self) -> tuple[str, str]:
        """Return which store this is and why."""
        from runjail.storage.open import AUTO, choose

        if self._chosen is None and self.location == AUTO:
            self._chosen = self.context.own_store()
        if self._chosen is None:
            self._chosen = choose(self._default) if self.location == AUTO else (self.location, "it was named")
        return self._chosen

    def chosen(self) -> str:
        """Return which store this is and why, for people. Raises StorageError."""
        return ": ".join(self._choice())

    @property
    def location(self) -> str:
        """Where --store, the environment or runjail.toml say that the store is."""
        return self.context.location or str(self.setting("store", "location", "auto"))

    def there(self) -> bool:
        """Whether there is a store to look into. Raises StoreNotFound where one was named that is not there."""
        try:
            return bool(self.store)
        except StoreNotFound:
            if self.location != "auto":
                raise
            return False

    @property
    def content(self) -> ContentStore:
        """The blobs and names of the store."""
        if self._content is None:
            self._content = ContentStore(self.store.content())
        return self._content

    @property
    def gate(self) -> Gate:
        """What policy.json says of images. Raises UnreadableFile, InvalidConfig."""
        if self._gate is None:
            from runjail.image.trust import gate, policy

            home, system = os.environ.get("HOME", ""), this_system().policies
            with named("--signature-policy", self.text("signature-policy")):
                found = policy.load(self.text("signature-policy"), home, system)
            self._gate = gate.Gate(found, self.content, ordinary=self.context.ordinary)
        return self._gate

    @property
    def access(self) -> places.RegistryOptions:
        """How registries are reached."""
        registries = self.settings.get("registries", {})
        return places.RegistryOptions(self.registries_conf, self.text("authfile"), self.flag("insecure"), registries)

    def registries_conf(self) -> Registries:
        """Return what containers' registries.conf says. Raises UnreadableFile, InvalidConfig, ImageError."""
        if self._registries is None:
            from runjail.image.registry import registries_conf

            system = tuple(os.path.dirname(path) for path in this_system().policies)
            self._registries = registries_conf.load(os.environ, system)
        return self._registries

    def providers(self) -> Mapping[str, Provider]:
        """Return the key providers that $OCICRYPT_KEYPROVIDER_CONFIG names."""
        from runjail.image.crypto import keyprovider_config

        return keyprovider_config.read(os.environ.get("OCICRYPT_KEYPROVIDER_CONFIG", ""))

    def keys(self) -> Parameters:
        """Return the keys of --key and of runjail.toml's directories."""
        from runjail.image.crypto import keys

        found = keys.read_keys(self.args.many("key"))
        for directory in self.setting("keys", "directories", []):
            found = keys.merge(found, keys.read_directory(directory))
        return found

    def platforms(self) -> list[Platform]:
        """Return what --platform asks for, without it what this machine runs, best first."""
        option = find(self.args.known, "platform")
        if not option:
            wanted: list[str] = []
        elif option.many:
            wanted = self.args.many("platform")
        else:
            wanted = [self.args.text("platform")] if self.args.text("platform") else []
        return [names.platform_of(text) for text in wanted] or platform.accepted(platform.host())

    def selection(self) -> list[Platform] | None:
        """Return the platforms to transfer, None for all of them."""
        return None if self.flag("all-platforms") else self.platforms()

    def jobs(self) -> int:
        """Return how many layers are transferred at a time."""
        return number(self.text("jobs") or "3", "--jobs", MAX_JOBS, 1)

    def progress(self) -> Progress:
        """Return what shows a transfer."""
        from runjail.cli.progress import Progress

        return Progress(quiet=self.flag("quiet"))

    def parse(self, word: str) -> Reference:
        """Return what a word names."""
        return names.choose(word, self.registries_conf, self.there, self.find)

    def find(self, reference: Reference) -> tuple[str, Descriptor]:
        """Return the name in the store that is meant, and what it leads to: resolve.find."""
        return resolve.find(self.content, reference)

    def resolve_or_pull(self, reference: Reference, use: Use | None = None) -> tuple[str, Descriptor]:
        """Return an image's name and what it leads to, fetched first when it is not in the store.

        What comes from a layout or an archive gets no name; the caller holds the content's lease.
        use: what is done with an image while it is fetched; it is not called for one that is there.
        """
        if reference.kind == "digest" or (reference.kind == "registry" and self.text("pull") != "always"):
            try:
                return self.find(reference)
            except ImageNotFound:
                if reference.kind == "digest" or self.text("pull") == "never":
                    raise
        try:
            return self.fetch_first(reference, use)
        except RunjailError as error:
            error.hint = error.hint or self.similar(reference)
            raise

    def fetch_first(self, reference: Reference, use: Use | None = None, name: str = "") -> tuple[str, Descriptor]:
        """Fetch what a word names, from the first registry that has it, under its own name or another.

        Return that one and what it leads to. What is in no registry gets no name. use: see resolve_or_pull.
        """

        def get(each: Reference) -> Descriptor:
            return self.fetch(each, (name or each.name) if each.kind == "registry" else "", use)

        found, top = names.first(reference, self.registries_conf, get)
        return name or found.name, top

    def similar(self, reference: Reference) -> str | None:
        """Return a hint for the name of an image that is not in the store: names there that are close."""
        from runjail.cli.suggest import hint

        return hint(reference.name, self.content.names()) if reference.kind == "registry" else None

    @scope
    def transient_blobs(self) -> Iterator[set[str]]:
        """Keep blobs that nothing names from being collected, and collect those of the set that comes, at the end.

        It is for images that only pass through the store.
        """
        digests: set[str] = set()
        try:
            with self.content.lease():
                yield digests
        finally:
            if digests:
                self.content.garbage_collect(among=digests)

    def fetch_transient(self, reference: Reference, digests: set[str]) -> tuple[str, Descriptor]:
        """Return what resolve_or_pull does; what that brought without a name is added to the digests."""
        name, top = self.resolve_or_pull(reference)
        if reference.kind in references.PLACES:
            from runjail.image.content import copy  # what is in the store already pays nothing for it

            found = copy.parts(self.content.read, top)
            digests.update(blob.digest for blob in found.blobs)
            digests.update(descriptor.digest for descriptor, _content in found.documents)
        return name, top

    def fetch(self, reference: Reference, name: str, use: Use | None = None) -> Descriptor:
        """Copy an image into the store and give it a name, "" for none. use: see resolve_or_pull."""
        from runjail.image.content import copy
        from runjail.image.trust.origin import resolved

        gate = self.gate  # what is wrong with a policy is said before anything is asked of a registry
        place = resolved(reference)
        with self.progress() as progress:
            source = places.source(place, self.access)

            def meanwhile(top: Descriptor, arrived: Arrived) -> None:
                if use:
                    use(reference.name, top, arrived, progress)

            try:
                return copy.copy_in(
                    source,
                    self.content,
                    name,
                    platforms=self.selection(),
                    jobs=self.jobs(),
                    progress=progress,
                    meanwhile=meanwhile,
                    admit=lambda manifests: gate.admit(place, manifests, source),
                )
            finally:
                source.close()

    def send(self, name: str, top: Descriptor, target: Reference, added: set[str]) -> Descriptor:
        """Copy an image out of the store. Returns what the target's name leads to. added: gets digests of new blobs."""
        from runjail.image.content import copy

        kind, level = compression(self.args)
        origin = references.parse(name)
        same = origin.kind == "registry" and origin.host == target.host
        mount_from = [origin.repository] if same and origin.repository != target.repository else []
        sink = places.sink(target, self.access, mount_from)
        selection = self.platforms() if self.args.many("platform") else None
        with self.progress() as progress:
            return copy.copy_out(
                self.content,
                top,
                sink,
                platforms=selection,
                compression=kind,
                level=level,
                jobs=self.jobs(),
                progress=progress,
                added=added,
                sign=self.sign,
            )

    def send_named(self, source: Reference, target: Reference) -> Descriptor:
        """Copy an image, fetched first when it is not in the store."""
        with self.transient_blobs() as digests:
            name, top = self.fetch_transient(source, digests)
            return self.send(name, top, target, digests)

    def report(self, name: str, top: Descriptor) -> int:
        """Print what came or went: the name and its digest."""
        if choice(self.args, "table", "json") == "json":
            return write_stdout(jsonio.dumps({"name": name, "digest": top.digest, "mediaType": top.media_type}) + "\n")
        return write_stdout(f"{name if self.args.flag('quiet') else f'{name}@{top.digest}'}\n")

    def made(self, name: str, top: Descriptor, before: Sequence[Image]) -> None:
        """Write down which manifests below `top` were made on this machine: all that were not there before."""
        after = {image.descriptor.digest for image in resolve.readable(self.content, name, top)}
        for digest in after - {image.descriptor.digest for image in before}:
            self.gate.made(digest)

    def unpack(self, reference: Reference) -> tuple[Image, Unpacked]:
        """Prove that the keys open every encrypted layer of an image, and have it in the store. Under the lease.

        Layers of one that is fetched for that are unpacked while others arrive.
        """
        # What is wrong with a key is said before anything is fetched.
        keys = self.keys() if self.args.many("key") else None
        found: list[tuple[Image, Unpacked]] = []

        def use(name: str, top: Descriptor, arrived: Arrived, progress: Progress) -> None:
            found.append(self._unpacked(name, top, keys, arrived, progress))

        name, top = self.resolve_or_pull(reference, use)
        if not found:
            with self.progress() as progress:
                use(name, top, lambda _digest: None, progress)
        return found[0]

    def _unpacked(
        self, name: str, top: Descriptor, keys: Parameters | None, arrived: Arrived, progress: Progress
    ) -> tuple[Image, Unpacked]:
        from runjail.image.bundle import unpack as unpacking

        def read(descriptor: Descriptor) -> bytes:
            arrived(descriptor.digest)
            return self.content.read(descriptor)

        image = resolve.load(read, name, top, self.platforms())
        self.gate.require(image)
        if image.manifest.encrypted:
            opened = unpacking.authorise(image, self.keys() if keys is None else keys, self.providers())
        else:
            opened = unpacking.authorise(image, {}, {})
        return image, unpacking.unpack(
            image,
            opened,
            self.content,
            self.store,
            encrypt=bool(self.setting("store", "encrypt", False)),
            progress=progress.unpacked,
            warn=warn,
            arrived=arrived,
        )


def warn(text: str) -> None:
    """Log what an administrator should know although the verb succeeds."""
    log.warning(text)
