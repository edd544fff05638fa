"""`python -m tests.support.bare ...`: the program where none of its extras is installed."""

import sys

EXTRAS = ("argcomplete", "nacl", "rich", "uvloop")

if __name__ == "__main__":
    sys.modules |= dict.fromkeys(EXTRAS)  # type: ignore[arg-type] # importing one now fails
    from gateway.cli import main

    raise SystemExit(main())
