"""Write what the interpreter of our start scripts takes for its home: see first_encodings.py.

There it finds the module with UTF-8 alone, and links to that by which it knows its home. This counts only if everything
else is then as without it; otherwise its own home stays.
"""

import importlib.util
import json
import marshal
import os
import subprocess
import tempfile
from typing import Any

import lean

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "first_encodings.py")
NAMES = ("prefix", "exec_prefix", "base_prefix", "base_exec_prefix", "_stdlib_dir")
# What we set, and then what has to be the same with us, for which the real package is loaded
ASK = f"""
import json, sys
facts = {{"path": sys.path[:], "sys": {{name: getattr(sys, name) for name in {NAMES}}}}}
facts["texts"] = [b"\\x8e".decode("cp850"), "\\xe4.x".encode("idna").hex()]
import encodings.aliases, os
facts["names"] = [sys.getfilesystemencoding(), sys.stdout.encoding, os.__file__, encodings.normalize_encoding("a-b")]
json.dump(facts, sys.stdout)
"""


def make(above: str, python: str, destination: str = "") -> str:
    """Make it in a directory. Returns the directory of the interpreter for pyvenv.cfg: there, or its own.

    above: where it is to be; python: the interpreter itself; destination: stands before `above` for now.
    """
    facts = ask(python)
    with tempfile.TemporaryDirectory() as trial:
        if facts is None or ask(_trial(trial, python, facts)) != facts:
            return os.path.dirname(python)
    return _write(f"{destination}{above}", python, facts).removeprefix(destination)


def ask(python: str) -> dict[str, Any] | None:
    """Return what an interpreter answers, None where it does not start or has something to complain of."""
    done = subprocess.run([python, "-ISc", ASK], capture_output=True, text=True, check=False)
    return None if done.returncode or done.stderr else json.loads(done.stdout)


def _trial(above: str, python: str, facts: dict[str, Any]) -> str:
    """Return an interpreter that starts at home in a directory."""
    os.mkdir(f"{above}/bin")
    started = f"{above}/bin/{os.path.basename(python)}"
    os.symlink(python, started)
    with open(f"{above}/pyvenv.cfg", "w", encoding="utf-8") as file:
        file.write(f"home = {_write(above, python, facts)}\n")
    return started


def _write(above: str, python: str, facts: dict[str, Any]) -> str:
    """Write the home. Returns the directory of its interpreter.

    Python takes for its home where its module os and its directory lib-dynload are, above the interpreter (PEP 405).
    """
    library, home = facts["sys"]["_stdlib_dir"], f"{above}/home"
    modules = f"{home}/{os.path.relpath(library, facts['sys']['base_prefix'])}"
    _link(python, f"{home}/bin/{os.path.basename(python)}")
    _link(f"{library}/os.py", f"{modules}/os.py")
    for path in facts["path"]:
        if path.endswith("/lib-dynload"):
            _link(path, f"{home}/{os.path.relpath(path, facts['sys']['base_exec_prefix'])}")
    _write_module(f"{modules}/encodings.py", facts)
    return f"{home}/bin"


def _write_module(path: str, facts: dict[str, Any]) -> None:
    """Write the module, and its bytecode, which nobody compares with it: PEP 552."""
    with open(SOURCE, encoding="utf-8") as file:
        text = file.read().replace('" = {}\n', f'" = {facts!r}\n')  # FACTS
    cache = importlib.util.cache_from_source(path)
    if _is(path, text.encode()) and os.path.exists(cache):  # a second `make` may find everything read-only
        return
    header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(text.encode())
    _put(cache, header + marshal.dumps(lean.compiled(text, path)))  # first: if no more comes, both are written again
    _put(path, text.encode())


def _is(path: str, content: bytes) -> bool:
    if not os.path.exists(path):
        return False
    with open(path, "rb") as file:
        return file.read() == content


def _put(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    beside = f"{path}.{os.getpid()}"
    with open(beside, "wb") as file:
        file.write(content)
    os.chmod(beside, 0o644)
    os.rename(beside, path)


def _link(target: str, path: str) -> None:
    if os.path.islink(path) and os.readlink(path) == target:
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    beside = f"{path}.{os.getpid()}"
    os.symlink(target, beside)
    os.rename(beside, path)
