"""Write the boot scripts: the files that people and container engines start, and those of our NRI plugins.

    python3 boot.py --package DIR --to DIR [--site DIR]... [--plugins DIR]

A script that pip generates starts Python with `site` and imports `re`, which doubles the time `runjail state` takes.
Ours runs the real interpreter isolated and without `site` (-IS): nothing from the environment, the working directory or
a .pth file reaches it, and an absolute first line needs no PATH.
"""

import os
import sys

TEMPLATE = """\
#!{python} -IS
# Made by .ci/boot.py. The package first; what only some verbs import comes last.
import sys

sys.path.insert(0, {package!r})
sys.path += {site!r}
from {module} import main

main()
"""

PLUGINS = ("clearcfs", "konfine")
PROGRAMS = {  # next to runjail itself, and the modules they run
    "containerd-shim-runjail-v1": "runjail.cli.shim",
    "ctd-decoder": "runjail.cli.decoder",
    "../libexec/runjail/runj": "runjail.cli.runj",  # not in bin, where it would hide a runj
}


def interpreter() -> str:
    """Return the running Python itself: not the virtual environment's link to it, which makes it search for more."""
    return os.path.realpath(sys.executable)


def text(package: str, site: list[str], module: str = "runjail.cli.main") -> str:
    """Return a script that runs main() of a module.

    package: the directory that holds `runjail/`; site: where third-party packages are.
    """
    python = interpreter()
    if " " in python or len(python) > 100:
        raise SystemExit(f"cannot make a script that starts with {python!r}: too long, or it holds a space")
    return TEMPLATE.format(python=python, package=package, site=site, module=module)


def write_programs(package: str, site: list[str], directory: str) -> bool:
    """Write runjail and the programs that belong next to it. True when one of them is new."""
    programs = {"runjail": "runjail.cli.main", **PROGRAMS}
    paths = {os.path.normpath(os.path.join(directory, name)): module for name, module in programs.items()}
    for path in paths:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    new = [path for path, module in paths.items() if write(path, text(package, site, module))]
    return bool(new)


def write_plugins(package: str, directory: str) -> None:
    """Write the programs of the NRI plugins that come with runjail, which finds them next to its own: ../libexec."""
    os.makedirs(directory, exist_ok=True)
    for name in PLUGINS:
        write(os.path.join(directory, name), text(package, [], f"runjail.nri.plugins.{name}"))


def write(path: str, content: str) -> bool:
    """Put an executable script in place in one step; False when it is there already."""
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == content and os.access(path, os.X_OK):
                return False
    except FileNotFoundError:
        pass
    beside = f"{path}.{os.getpid()}"
    with open(beside, "w", encoding="utf-8") as file:
        file.write(content)
    os.chmod(beside, 0o755)
    os.rename(beside, path)
    return True


def main() -> None:
    """Write boot scripts as command line options say."""
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--package", required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--site", action="append", default=[])
    parser.add_argument("--plugins", default="")
    options = parser.parse_args()
    write_programs(options.package, options.site, options.to)
    if options.plugins:
        write_plugins(options.package, options.plugins)


if __name__ == "__main__":
    main()
