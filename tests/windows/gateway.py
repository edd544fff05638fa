"""The gateway as `python -m gateway`, ended as Windows ends a program: by CTRL-BREAK.

    python -m tests.windows.gateway run --config FILE

Where there is no console to send it from, the end of standard input stands for it.
"""

from __future__ import annotations

import signal
import sys
import threading

from gateway.cli import main


def _break_at_the_end() -> None:
    sys.stdin.read()
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGBREAK)


if __name__ == "__main__":
    threading.Thread(target=_break_at_the_end, daemon=True).start()
    sys.exit(main())
