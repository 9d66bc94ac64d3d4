"""Every error that runjail raises on purpose.

    RunjailError                     exit 1
    ├── UsageError                   a wrong command line
    ├── InvalidConfig                config.json: all problems, each with its JSON path
    ├── UnreadableFile               a file that a caller named: missing, no file, too large
    ├── ContainerNotFound            "container does not exist"     (callers grep these texts:
    ├── ContainerExists              "container with given ID already exists"   docs/architecture.md)
    ├── NotRunning                   "container not running"
    ├── WrongStatus                  the container is in a state in which the verb makes no sense
    ├── Busy                         another runjail holds the container for too long
    ├── ProgramNotFound              `exec: "NAME": executable file not found in $PATH`
    ├── ProgramDenied                `exec: "/PATH": permission denied`
    ├── HookError                    a hook failed or ran out of time
    ├── PluginError                  an NRI plugin failed, or refused the container
    ├── NetworkError                 there is no such network, or a CNI plugin failed
    ├── ImageError                   an image, or a source of images, is not what it should be
    │   ├── ImageNotFound            "image does not exist: ..."
    │   ├── Corrupt                  content does not match its digest, size or HMAC
    │   ├── NotTrusted               "image is not trusted: ...", and which rule of which file says so
    │   ├── Unauthorized             "you are not authorized to use this image: ..." (imgcrypt's words)
    │   └── RegistryError            a registry refused, or could not be reached
    ├── StorageError                 the store of layers and roots cannot do it
    │   ├── StoreNotFound            there is no store where one was named
    │   ├── VolumeNotFound           "volume does not exist: ..."
    │   └── InUse                    a layer or root that is in use is not destroyed
    ├── HostError                    the kernel or a system program refused
    │   ├── DiedEarly                a process that was to be a container's ended without a word
    │   └── NoAnswer                 a process of the container was stopped or frozen from inside
    └── CleanupError                 clean-up could not remove everything; names what stayed

An error carries one line of text: what we were doing and why it failed. It never prints itself; `cli` reports it
once. `hint` is a second line for people. The words "permission denied", "operation not permitted" and "no such
file or directory" decide the exit code that podman and docker show, so only errors about the container's program may
say them. Causes start with a small letter, as Go prints them: docker's command line compares letter by letter.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


REWORDED = {1: "not allowed", 2: "does not exist", 13: "access refused"}  # EPERM, ENOENT, EACCES


class RunjailError(Exception):
    """Base of the family: `str(error)` is one line, `hint` is None or a second one, `code` the exit code."""

    code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(RunjailError):
    """The command line is wrong."""


class InvalidConfig(RunjailError):
    """config.json (or a process document) is not acceptable.

    problems: one `path: what is wrong` each, e.g. `process.cwd: must be an absolute path`. The text names the first
    twenty: callers read 8 KiB of it and no more.
    """

    most_shown = 20

    def __init__(self, problems: Sequence[str], what: str = "config.json") -> None:
        self.problems = tuple(problems)
        more = len(self.problems) - self.most_shown
        shown = self.problems[: self.most_shown] + ((f"and {more} more",) if more > 0 else ())
        super().__init__(f"invalid {what}: " + "; ".join(shown))


class UnreadableFile(RunjailError):
    """A file that a caller named cannot be read. why: `is missing`, without the path; errno: the cause or None."""

    def __init__(self, path: str, why: str, errno: int | None = None) -> None:
        shown = path if path.isprintable() else ascii(path)[1:-1]
        super().__init__(f"{shown} {why}")
        self.why, self.errno = why, errno


class ContainerNotFound(RunjailError):
    """No container has this id."""

    def __init__(self, container_id: str) -> None:
        super().__init__(f"container does not exist: {container_id}")


class ContainerExists(RunjailError):
    """The id is taken."""

    def __init__(self, container_id: str) -> None:
        super().__init__(f"container with given ID already exists: {container_id}")


class NotRunning(RunjailError):
    """The container's init process is gone."""

    def __init__(self, container_id: str) -> None:
        super().__init__(f"container not running: {container_id}")


class WrongStatus(RunjailError):
    """The verb does not apply to the container's present status."""


class Busy(RunjailError):
    """Another runjail process works on the container and does not let go."""


class ProgramNotFound(RunjailError):
    """The program to run does not exist in the container; callers end with 127. Texts: as runc has them."""

    def __init__(self, name: str, why: str = "executable file not found in $PATH") -> None:
        super().__init__(f'exec: "{name}": {why}')


class ProgramDenied(RunjailError):
    """The program to run may not or cannot be executed; callers end with 126."""

    def __init__(self, name: str, why: str = "permission denied", hint: str | None = None) -> None:
        super().__init__(f'exec: "{name}": {why}', hint)


class HookError(RunjailError):
    """A hook failed."""


class PluginError(RunjailError):
    """An NRI plugin failed, or refused the container. answered: the plugins that answered before."""

    answered: tuple[str, ...] = ()


class NetworkError(RunjailError):
    """There is no such network, or a CNI plugin is missing or failed."""


class ImageError(RunjailError):
    """An image, or a place that images come from, is not what it should be."""


class ImageNotFound(ImageError):
    """There is no such image, tag, manifest or blob. part: the image is there, and something that it names is not."""

    def __init__(self, name: str, hint: str | None = None, *, part: bool = False) -> None:
        super().__init__(f"{'a part of the image' if part else 'image'} does not exist: {name}", hint)


class Corrupt(ImageError):
    """Content does not match its digest, its size or its HMAC, or cannot be read as what it claims to be."""


class NotTrusted(ImageError):
    """policy.json refuses an image. image: with its transport; rule: its JSON path, and what was not met."""

    def __init__(self, image: str, path: str, rule: str, hint: str | None = None) -> None:
        super().__init__(f"image is not trusted: {image}: {path}: {rule}", hint)


class Unauthorized(ImageError):
    """No key opens an encrypted layer."""

    most_important = "missing private key needed for decryption"

    def __init__(self, why: str = most_important, hint: str | None = None) -> None:
        super().__init__(f"you are not authorized to use this image: {why}", hint)


class RegistryError(ImageError):
    """A registry refused, answered nonsense or could not be reached. status: of its last answer, 0 without one."""

    def __init__(self, message: str, hint: str | None = None, status: int = 0) -> None:
        super().__init__(message, hint)
        self.status = status


class StorageError(RunjailError):
    """The store of layers and roots cannot do what was asked."""


class StoreNotFound(StorageError):
    """There is no store at a location: `dir:PATH` or `zfs:DATASET`."""

    def __init__(self, location: str) -> None:
        hint = "runjail image pull and image import make a store; --store, RUNJAIL_STORE and runjail.toml say where"
        super().__init__(f"there is no store {location}", hint)


class VolumeNotFound(StorageError):
    """There is no volume of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"volume does not exist: {name}", "runjail volume ls shows those that do")


class InUse(StorageError):
    """What is in use is not destroyed."""


class HostError(RunjailError):
    """A system call or a system program failed."""


class DiedEarly(HostError):
    """A process that was to be a container's ended without a word."""

    def __init__(self) -> None:
        super().__init__("the container's process died before it was ready")


class NoAnswer(HostError):
    """A process of ours that a container's processes can stop, or freeze, did not go on."""

    def __init__(self, seconds: float) -> None:
        hint = "it was stopped or frozen, perhaps from inside: runjail delete --force ends the container"
        super().__init__(f"the container's process does not answer after {seconds:g} s", hint)


class CleanupError(RunjailError):
    """Undoing was not complete."""


def reason(error: OSError) -> str:
    """Return the bare cause of an OSError, without numbers and paths: `device busy`.

    The three causes that podman and docker would take for a verdict on the container's program are worded anew.
    """
    return REWORDED.get(error.errno or 0) or cause(error)


def cause(error: OSError) -> str:
    """Return the cause in Go's words, `no such file or directory`: for errors about the container's program alone."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def described(error: BaseException) -> tuple[str, str, str | None]:
    """Return what `restored` takes: the class, HostError for what is none of ours, the text, the hint."""
    if isinstance(error, OSError):
        return "HostError", reason(error) + (f": {error.filename}" if error.filename else ""), None
    kind = type(error).__name__
    return kind if isinstance(error, RunjailError) else "HostError", str(error) or kind, getattr(error, "hint", None)


def restored(kind: str, text: str, hint: str | None) -> RunjailError:
    """Return the error that another process has described; a HostError where the class is unknown here."""
    found = globals().get(kind)
    if not (isinstance(found, type) and issubclass(found, RunjailError)):  # from a process that is traced
        found = HostError
    error: RunjailError = found.__new__(found)
    RunjailError.__init__(error, text, hint)
    return error
