"""The door: `python -m runjail`, the boot script and the console script all come in here."""

import os
import sys


def main() -> None:
    """Run one command line and end the process. Skipping Python's own shutdown saves half a millisecond."""
    from runjail.cli.main import run

    code = run(sys.argv)
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
