"""Make .venv and the program in it; a second run finds everything in place and changes nothing.

    python3 make_venv.py [program | pytest]

With what the tests need, or only what the program itself does. `pytest` says that nothing can go on without that.
Third-party packages come from pip where there is pip and a network. Elsewhere the virtual environment shows the
system's own packages, and this program says what is missing and what that costs. runjail itself is never installed
with pip: the boot script runs the checkout, so there is no build step and no network needed for it.
"""

import compileall
import contextlib
import errno
import fcntl
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib

import boot
import merge

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(TOP, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "requirements")
COMPILED = os.path.join(VENV, "compiled")
OFFLINE = os.path.join(VENV, "without-network")  # pip could not install anything
MODULES = {
    "grpcio": "grpc",
    "pytest-xdist": "xdist",
    "python-pkcs11": "pkcs11",
    "pyyaml": "yaml",
}  # where the name is another
ESSENTIAL = ("click", "jsonschema", "psutil", "pytest")  # with these the program is whole and its tests run
COSTS = {
    "click": "no --help texts",
    "jsonschema": "only the first fault of a config.json is found",
    "psutil": "no `runjail ps` table",
    "pytest": "no tests",
    "backports.zstd": "no zstd layers",
    "cryptography": "no encrypted images",
    "isal": "gzip layers are read at half the speed",
    "jeepney": "no containers as scopes of systemd",
    "jwcrypto": "JWE packets are compared with nobody else's",
    "urllib3": "no registries",
    "grpc": "no key providers that are gRPC services",
    "pkcs11": "no layer keys in PKCS#11 modules",
    "yaml": "no layer keys in PKCS#11 modules",
    "coverage": "how much of the FreeBSD room is exercised is not counted",
    "hypothesis": "property tests are skipped",
    "mypy": "types are not checked",
    "ruff": "style is not checked",
    "xdist": "tests run one after the other",
}
NO_SPACE = "make some room there"
REMEDIES = {  # by error number
    errno.EROFS: "make a copy of the checkout where it can be written to",
    errno.EACCES: "make a copy of the checkout that is your own: git clone",
    errno.EPERM: "make a copy of the checkout that is your own: git clone",
    errno.ENOSPC: NO_SPACE,
    errno.EDQUOT: NO_SPACE,
}
NO_PYTEST = (
    "there is no pytest, and {why}, or install pytest (Debian: apt-get install python3-pytest; FreeBSD: pkg install"
    " py{version[0]}{version[1]}-pytest)"
)
NO_NETWORK = "pip could not install it: connect this machine to a network"
NO_PIP = "no pip that could install it: install that (Debian: apt-get install python3-venv)"


class CannotSetUp(Exception):
    """Why it cannot go on, and what to do, in one line."""


def requirements(tests: bool) -> list[str]:
    """Return what pyproject.toml asks for on this machine."""
    with open(os.path.join(TOP, "pyproject.toml"), "rb") as file:
        project = tomllib.load(file)["project"]
    wanted = project["dependencies"] + (project["optional-dependencies"]["test"] if tests else [])
    return [item for item in wanted if needed(item)]


def stamp(tests: bool) -> str:
    """Return what is written down once .venv is complete."""
    scripts = [boot.PLACE, boot.TEMPLATE, boot.MERGED, *merge.ROOTS["linux"], *boot.PROGRAMS]
    return "\n".join([boot.interpreter(), f"pip: {brings_pip()}", TOP, *scripts, *requirements(tests)]) + "\n"


def brings_pip() -> bool:
    """Whether this Python can put pip into virtual environments: on Debian that is a package of its own."""
    return importlib.util.find_spec("ensurepip") is not None


def needed(requirement: str) -> bool:
    """Whether this Python needs it: `x>=1; python_version < '3.14'`. Other markers are left to pip."""
    older_than = re.search(r"python_version < '3\.(\d+)'", requirement)
    return older_than is None or sys.version_info < (3, int(older_than[1]))


def ready(tests: bool) -> bool:
    """Whether .venv works with this interpreter and was completed for the same requirements, or for more."""
    try:
        with open(STAMP, encoding="utf-8") as file:
            if file.read() not in {stamp(True), stamp(tests)}:
                return False
        return os.path.realpath(PYTHON) == boot.interpreter() and os.access(PYTHON, os.X_OK)
    except OSError:
        return False


def usable() -> bool:
    """Whether .venv has this interpreter and a pip of its own: then new requirements go on top, in use or not."""
    pip = os.path.join(VENV, "bin", "pip")
    return os.access(pip, os.X_OK) and os.path.realpath(PYTHON) == boot.interpreter()


def network() -> bool:
    """Whether there is a way out of this machine; nothing is sent."""
    for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):  # RFC 5737, RFC 3849
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return True
    return False


def settled() -> bool:
    """Whether .venv has this interpreter and was filled as far as that can be done without a network."""
    return not network() and os.path.exists(OFFLINE) and os.path.realpath(PYTHON) == boot.interpreter()


def make(wanted: list[str]) -> bool:
    """Create .venv and fill it; False when another try, with a network, may get further. Raises CannotSetUp."""
    ours = sys.platform.startswith("freebsd") and all(map(importlib.util.find_spec, ESSENTIAL))  # pkg's, not pip's
    whole = not ours and brings_pip()
    create([] if whole else ["--without-pip", "--system-site-packages"])
    lacking = [] if ours else missing(wanted)
    tried = bool(lacking) and not missing(["pip"])
    installed = tried and install(lacking)
    if tried and not installed and network():  # else one try is enough
        installed = any(list(map(install_wheel, lacking)))
    if tried and not installed:
        check_space()
        print("pip could not install the packages: going on with what this system has")
        create(["--without-pip", "--system-site-packages"])
        with open(OFFLINE, "w", encoding="utf-8"):
            pass
    tell_missing(wanted)
    return installed or not tried


def tell_missing(wanted: list[str]) -> None:
    """Say what is not there, and what that costs."""
    for item in missing(wanted):
        print(f"  missing: {item} ({COSTS.get(name(item), 'unknown use')})")


def create(options: list[str]) -> None:
    """Make an empty virtual environment in place of the present one. Raises CannotSetUp, OSError."""
    boot.release(os.path.normpath(os.path.join(VENV, "bin", boot.PLACE)))
    os.makedirs(VENV, exist_ok=True)
    command = [boot.interpreter(), "-m", "venv", "--clear", *options, VENV]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        check_space()
        said = " ".join((done.stdout + done.stderr).split()) or f"status {done.returncode}"
        raise CannotSetUp(f"{boot.interpreter()} -m venv: {said}: try another Python, as PYTHON=PATH")


def check_space() -> None:
    """Raise OSError when what just failed had no room on the disk."""
    if shutil.disk_usage(VENV).free < 1 << 20:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), VENV)


def install(wanted: list[str]) -> bool:
    """Install packages with the virtual environment's pip; False when it fails."""
    retries = "1" if network() else "0"
    pip = [
        PYTHON,
        "-m",
        "pip",
        "-qq",
        "--disable-pip-version-check",
        "--retries",
        retries,
        "install",
        "--prefer-binary",
    ]
    return subprocess.run([*pip, *wanted], check=False).returncode == 0


def install_wheel(requirement: str) -> bool:
    """Install one package where nothing has to be built for it: a new Python has no wheels of some yet."""
    return install(["--only-binary=:all:", requirement])


def missing(wanted: list[str]) -> list[str]:
    """Return those requirements whose module the virtual environment cannot import."""
    check = "import importlib.util as u, sys; print(*(n for n in sys.argv[1:] if not found(n)))"
    check = f"def found(n):\n try: return u.find_spec(n)\n except ImportError: return None\n{check}"
    names = {name(item): item for item in wanted}
    found = subprocess.run([PYTHON, "-c", check, *names], check=True, capture_output=True, text=True)
    return [names[absent] for absent in found.stdout.split()]


def name(requirement: str) -> str:
    """Return the module of a requirement: `click>=8.1` is `click`."""
    bare = re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0]
    return MODULES.get(bare, bare)


def site_directories() -> list[str]:
    """Return where the virtual environment's Python finds third-party packages, the standard library left out."""
    code = "import sys, site; print(*(p for p in sys.path if p.endswith('-packages')), sep='\\n')"
    found = subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, text=True)
    return found.stdout.split("\n")[:-1]


def program() -> bool:
    """Write the programs to .venv/bin and let the virtual environment's Python import the checkout. True when new."""
    found = site_directories()
    with open(os.path.join(found[0], "runjail.pth"), "w", encoding="utf-8") as file:
        file.write(TOP + "\n")
    return boot.write_programs(TOP, found, os.path.join(VENV, "bin"))


def compile_sources() -> None:
    """Write bytecode: callers may forbid it in their environment, and compiling at each start costs 50 ms."""
    try:
        with open(COMPILED, encoding="utf-8") as file:
            if file.read() == files():
                return
    except FileNotFoundError:
        pass
    compileall.compile_dir(os.path.join(TOP, "runjail"), quiet=2)
    merge.write(TOP, "", sys.platform)
    with open(COMPILED, "w", encoding="utf-8") as file:
        file.write(files())


def files() -> str:
    """Return what shows that a source has changed, or that bytecode is gone: each file with its time and size."""
    paths = [entry.path for entry in os.scandir(os.path.join(TOP, ".ci")) if entry.is_file()]
    paths += [os.path.join(place, name) for place, _, names in os.walk(os.path.join(TOP, "runjail")) for name in names]
    lines = []
    for path in sorted(paths):
        with contextlib.suppress(FileNotFoundError):  # another program's, on its way to its name
            status = os.stat(path)
            lines.append(f"{path} {status.st_mtime_ns} {status.st_size}\n")
    return "".join(lines)


def set_up(tests: bool) -> None:
    """Make what is not there yet. Raises CannotSetUp, OSError."""
    fcntl.flock(os.open(TOP, os.O_RDONLY), fcntl.LOCK_EX)  # whoever comes second finds it done
    if not ready(tests):
        wanted = requirements(tests)
        print(f"setting up .venv with {boot.interpreter()}: {' '.join(map(name, wanted))}", flush=True)
        if settled():
            print("no network: going on with what this system has; `make clean` makes it look again")
            tell_missing(wanted)
            complete = False
        else:
            complete = (usable() and install(wanted)) or make(wanted)
        program()
        if complete:
            with open(STAMP, "w", encoding="utf-8") as file:
                file.write(stamp(tests))
    boot.write_plugins(TOP, os.path.join(VENV, "libexec", "runjail", "nri"))
    compile_sources()


def main() -> None:
    """Do what the command line says; what keeps us from it is one line."""
    try:
        set_up(sys.argv[1:] != ["program"])
        if sys.argv[1:] == ["pytest"] and missing(["pytest"]):
            why = NO_NETWORK if os.path.exists(OFFLINE) or not missing(["pip"]) else NO_PIP
            raise CannotSetUp(NO_PYTEST.format(why=why, version=sys.version_info))
    except CannotSetUp as error:
        raise SystemExit(f"set-up: {error}") from error
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "")
        where, why = error.filename or VENV, error.strerror or str(error)
        raise SystemExit(f"set-up: cannot write {where}: {why}{remedy and f': {remedy}'}") from error


if __name__ == "__main__":
    main()
