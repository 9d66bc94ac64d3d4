"""login: try a user name and password at a registry, and keep them. logout takes them out again."""

from __future__ import annotations

import os
from getpass import getpass

from runjail import files, log
from runjail.cli.args import Args, flag, value
from runjail.cli.context import Context, write_stdout
from runjail.cli.image.options import AUTH, INSECURE
from runjail.cli.image.session import ImageSession
from runjail.errors import ImageError, RegistryError, UsageError
from runjail.image.reference import is_host, is_repository
from runjail.image.registry.client import Registry
from runjail.image.registry.credentials import Credentials
from runjail.image.registry.logins import Given, LoginFile

HELP = "log in to a registry"
ARGS = ("REGISTRY",)
OPTIONS = (
    value("username", "u", "NAME", "user name (default: it is asked for)"),
    value("password", "p", "WORD", "password, which others see in the list of processes"),
    flag("password-stdin", "", "read the password from standard input"),
    flag("get-login", "", "print the user name of the login there is"),
    AUTH,
    INSECURE,
)

LONGEST = 64 << 10  # bytes of a password: some are tokens


def run(args: Args, context: Context) -> int:
    """Log in, or say who is."""
    key, logins = registry(args.positionals[0]), LoginFile(args.text("authfile"))
    if args.flag("get-login"):
        name = logins.username(key)
        if not name:
            raise ImageError(f"not logged into {key}")
        return write_stdout(f"{name}\n")
    name, password = _asked(args)
    _try(args, context, key, name, password)
    logins.keep(key, name, password)
    return write_stdout("Login Succeeded!\n")


def registry(word: str) -> str:
    """Return HOST[:PORT][/NAMESPACE] as files of credentials have it. Raises UsageError."""
    scheme, _, rest = word.rpartition("://")
    key = rest.rstrip("/") if scheme in ("https", "http") else word
    host, slash, namespace = key.partition("/")
    if not is_host(host) or (slash and not is_repository(namespace)):
        raise UsageError(f"not a registry: {word[:200]!r}", "HOST[:PORT], or HOST[:PORT]/NAMESPACE")
    return key


def _try(args: Args, context: Context, key: str, name: str, password: str) -> None:
    """Ask the registry. Raises RegistryError."""
    images = ImageSession(args, context, make=False)
    host, _, namespace = key.partition("/")
    table = images.registries_conf().table(key if namespace else f"{host}/x")
    said = images.settings.get("registries", {}).get(host, {}).get("insecure")
    insecure = args.flag("insecure") or bool((table and table.itself.insecure) if said is None else said)
    keyring = Given(Credentials(name, password, origin="this login"))
    client = Registry(host, insecure=insecure, keyring=keyring)
    try:
        client.login()
    except RegistryError as error:
        if error.status == 401:
            raise RegistryError(f"logging into {key}: invalid username/password", status=401) from None
        raise
    finally:
        client.close()


def _asked(args: Args) -> tuple[str, str]:
    """Return user name and password, as options say or somebody types. Raises UsageError."""
    name, password = args.text("username"), args.text("password")
    if args.flag("password-stdin"):
        if not name or password:
            raise UsageError("--password-stdin needs --username, and no --password")
        return name, _from_stdin()
    if password:
        log.warning("--password: others see it in the list of processes; --password-stdin keeps it from them")
    if not (name and password) and not os.isatty(0):
        raise UsageError("no terminal to ask for the password at", "--username NAME --password-stdin")
    name = name or input("Username: ")
    if not password:
        password = getpass("Password: ")
    if not name or not password or ":" in name:
        raise UsageError("a user name without `:` and a password are needed")
    return name, password


def _from_stdin() -> str:
    try:
        return files.read("/dev/stdin", LONGEST).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError("the password on standard input is not UTF-8") from None
