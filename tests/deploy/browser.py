"""A headless Chromium, without a profile and without the network.

python -m tests.deploy.browser http://127.0.0.1:9464/ docs/pictures/status.png
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-extensions", "--hide-scrollbars", "--virtual-time-budget=3000"),
)


def open_page(url: str, *options: str) -> str:
    """Let a page run for 3 s of its own time and return what Chromium prints.

    Args:
        url: The page.
        options: What to do with it: `--dump-dom`, `--screenshot=FILE`, `--window-size=W,H`.
    """
    with tempfile.TemporaryDirectory() as profile:
        command = ("chromium", *OPTIONS, f"--user-data-dir={profile}", *options, url)
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


if __name__ == "__main__":
    open_page(sys.argv[1], "--window-size=1000,1180", f"--screenshot={sys.argv[2]}")
