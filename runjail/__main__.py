"""`python -m runjail`; the boot script and the console script call cli.main themselves."""

from __future__ import annotations

from runjail.cli.main import main

if __name__ == "__main__":
    main()
