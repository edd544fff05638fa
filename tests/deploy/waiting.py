"""Wait for what other processes do."""

import time
from collections.abc import Callable


def wait_until(
    holds: Callable[[], object], explain: Callable[[], object] = str, within_s: float = 30.0
) -> None:
    """Look again and again until something holds; fail with an explanation when it does not."""
    until_s = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until_s:
            raise AssertionError(f"did not happen within {within_s:.0f} s: {explain()}")
        time.sleep(0.05)
