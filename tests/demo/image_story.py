"""The second half of the demo: an image is built, encrypted, kept in a registry, refused, and run from a clone."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from runjail.errors import RunjailError
from runjail.image.crypto import primitives
from runjail.storage import overlay_mount
from tests.demo.output import DEMO, PROGRAM, STATE, expect, run, runjail, show
from tests.support import zfs_pool
from tests.support.leftovers import Leftovers
from tests.support.loopback import loopback

PRIVATE, PUBLIC = os.path.join(DEMO, "key.pem"), os.path.join(DEMO, "key.pub")
CHANGED = "changed"  # the image of what a container has become
NAMES = (f"demo-one-{os.getpid()}", f"demo-two-{os.getpid()}")


def tell(rootfs: str, containers: bool) -> None:
    """Tell the story with what this machine has; say what it does not have. containers: whether they can run."""
    with store() as location, registry() as host:
        os.environ["RUNJAIL_STORE"] = location
        try:
            story(rootfs, host, location if containers else "")
        finally:
            for name in NAMES:
                forced = [PROGRAM, "--root", STATE, "delete", "--force", name]
                subprocess.run(forced, check=False, capture_output=True)
            del os.environ["RUNJAIL_STORE"]


@contextlib.contextmanager
def store() -> Iterator[str]:
    """Make a place for layers: a ZFS pool in a file, or where there is no ZFS overlays, or else directories."""
    if why := zfs_pool.missing():
        against = overlay_mount.refusal(DEMO)
        place = f"in a directory ({against})" if against else "in overlays"
        show(f"Images {place}: ZFS cannot be shown, it {why}.")
        yield f"{'dir' if against else 'overlay'}:{DEMO}/store"
        return
    show("Images in ZFS: a pool in a file, for this demo.")
    directory = Path(DEMO) / "zfs"
    directory.mkdir()
    pool = zfs_pool.Pool(directory, Leftovers(DEMO))
    try:
        pool.start()
        with pool.inside(), pool.dataset() as dataset:
            yield f"zfs:{dataset}"
    finally:
        pool.destroy()


@contextlib.contextmanager
def registry() -> Iterator[str]:
    """Start a registry on loopback: Debian's docker-registry, or a small one of Python's; "" where neither can."""
    from tests.support.image.registry_server import DockerRegistry, Fake, Server

    if not find_spec("urllib3"):
        show("Python's urllib3 is not installed: the image travels in an OCI layout instead.")
        yield ""
        return
    if not loopback():
        show("Nothing can be reached at 127.0.0.1 (ip link set lo up): the image travels in an OCI layout instead.")
        yield ""
        return
    if shutil.which("docker-registry"):
        directory = Path(DEMO) / "registry"
        directory.mkdir()
        server: DockerRegistry | Server = DockerRegistry(directory)
    else:
        server = Fake().server
    try:
        yield server.host
    finally:
        server.stop()


def story(rootfs: str, host: str, location: str) -> None:
    """Build, encrypt, send away, fetch, be refused, run, clean up. location: the store, "" without containers."""
    show("An image of one layer, made of the root file system above.")
    words = ("--cmd", "/bin/echo", "--cmd", "Hello World!")
    runjail(
        "image",
        "import",
        *words,
        f"rootfs:{rootfs}",
        "hello",
    )
    encrypted = encrypt()

    show("It travels: to the registry and back." if host else "It travels: to an OCI layout and back.")
    away = f"{host}/demo/hello:1" if host else f"oci:{DEMO}/layout:1"
    runjail("image", "push" if host else "export", "hello", away)
    name, trusted = away if host else "hello", bool(host and encrypted)
    if trusted:
        trust(away)
    runjail("image", "rm", "hello")
    if not trusted:
        runjail("image", *(("pull", away) if host else ("import", away, name)))
    runjail("image", "ls")
    key = ("--key", PRIVATE) if encrypted else ()
    verb = ("run", "--image", name, NAMES[0]) if location else ("image", "unpack", name)
    if encrypted:
        show("Without the key nobody gets at it. Nothing is unpacked, and nothing is left.")
        refusal = runjail(*verb, fails=True)
        expect("you are not authorized to use this image: missing private key" in refusal, "another refusal")
    how = "With the key: decrypted, verified" if encrypted else "Verified"
    if location:
        show(f"{how}, unpacked into the store, and run from a root of its own.")
        expect(runjail("run", "--image", name, *key, NAMES[0]) == "Hello World!\n", "it says something else")
        stay(name, key, location)
    else:
        show(f"{how}, and unpacked into the store.")
        runjail("image", "unpack", *key, name)
        runjail("image", "ls")

    show("Everything is taken back: container, root, image, layers.")
    if location:
        runjail("delete", "--force", NAMES[1])
    runjail("image", "rm", name)
    runjail("image", "prune")
    expect(runjail("image", "ls", "-q") == "", "an image stayed")


def encrypt() -> bool:
    """Encrypt the image to a new key; False where nothing is there that can."""
    try:
        primitives.require()
    except RunjailError as error:
        show(f"The image stays as it is: {error}.")
        return False
    if not shutil.which("openssl"):
        show("The image stays as it is: openssl is not installed, to make a key.")
        return False
    show("A key pair; the image is encrypted to the public key.")
    kind = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")  # an RSA key takes up to a second
    run("openssl", "genpkey", *kind, "-out", PRIVATE)
    os.chmod(PRIVATE, 0o600)
    run("openssl", "pkey", "-in", PRIVATE, "-pubout", "-out", PUBLIC)
    runjail("image", "encrypt", "--recipient", f"jwe:{PUBLIC}", "hello")
    runjail("image", "layerinfo", "hello")
    return True


def trust(name: str) -> None:
    """Have a policy that wants a signature refuse the image in the registry, and take it once it is signed."""
    show("A policy wants a signature of ours for what comes from there: it has none, and is refused.")
    signer, verifier, policy = (f"{DEMO}/{file}" for file in ("signer.pem", "signer.pub", "policy.json"))
    run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", signer)
    os.chmod(signer, 0o600)
    run("openssl", "pkey", "-in", signer, "-pubout", "-out", verifier)
    rule = [{"type": "sigstoreSigned", "keyPath": verifier}]
    rules = {"default": [{"type": "reject"}], "transports": {"docker": {name.partition("/")[0]: rule}}}
    Path(policy).write_text(json.dumps(rules), encoding="utf-8")
    refusal = runjail("image", "pull", "--signature-policy", policy, name, fails=True)
    expect("there is no signature" in refusal, "another refusal")
    show("Signed as it is sent, it is taken.")
    runjail("image", "push", "--sign-by-sigstore", signer, "hello", name)
    runjail("image", "pull", "--signature-policy", policy, name)


def stay(name: str, key: tuple[str, ...], location: str) -> None:
    """Let one container stay, look at its datasets and its output, and make an image of it."""
    show("A container that stays: its root shares the layer, and writes go to the root alone.")
    script = "echo at work; exec sleep 600"
    runjail("run", "--image", name, *key, "-d", NAMES[1], "--", "/bin/sh", "-c", script, stays=True)
    if location.startswith("zfs:"):
        run("zfs", "list", "-t", "all", "-r", "-o", "name,used,refer,origin", location.removeprefix("zfs:"))
    runjail("image", "inspect", name)
    show("What it writes is kept, and what it uses is counted.")
    wait_for_log("at work")
    expect(runjail("logs", NAMES[1]) == "at work\n", "another log")
    runjail("stats", "--no-stream", NAMES[1])
    commit(name, key)


def wait_for_log(text: str) -> None:
    """Wait until a container has said it."""
    end = time.monotonic() + 60
    command = [PROGRAM, "--root", STATE, "logs", NAMES[1]]
    while text not in subprocess.run(command, check=True, capture_output=True, text=True).stdout:
        expect(time.monotonic() < end, f"the log lacks {text!r}")
        time.sleep(0.02)


def commit(name: str, key: tuple[str, ...]) -> None:
    """Change the container, make an image of it, encrypted like its own, send that away, and run it."""
    show("It changes a file, and becomes an image: one layer more, encrypted at once if its image is.")
    runjail("exec", NAMES[1], "/bin/sh", "-c", "echo changed >/note")
    expect("A /note" in runjail("diff", NAMES[1]), "the change is not seen")
    recipient = ("--recipient", f"jwe:{PUBLIC}") if key else ()
    words = ("--quiet", "--change", 'CMD ["cat", "/note"]')
    runjail("commit", *words, *recipient, *key, NAMES[1], CHANGED)
    image = CHANGED
    if name != "hello":
        show("It goes to the registry, and what runs is fetched from there.")
        image = name.replace("/hello:", f"/{CHANGED}:")
        runjail("image", "push", CHANGED, image)
        runjail("image", "rm", CHANGED)
    expect(runjail("run", "--image", image, *key, NAMES[0]) == "changed\n", "it says something else")
    runjail("image", "rm", image)
