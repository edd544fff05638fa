"""`mt4-gateway keys`: a pair of CURVE keys, as two files that nothing overwrites."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import ConfigError
from gateway.terminal.curve import new_pair


@dataclass(frozen=True, slots=True)
class Pair:
    """Where a pair was written.

    Attributes:
        public: The public key itself, in Z85.
    """

    secret_file: Path
    public_file: Path
    public: str


def make(folder: Path, name: str) -> Pair:
    """Write `NAME.secret`, for its owner alone, and `NAME.public`.

    Raises:
        ConfigError: One is there already, or cannot be written.
    """
    secret_file, public_file = folder / f"{name}.secret", folder / f"{name}.public"
    if public_file.exists():
        raise ConfigError([f"{public_file}: is there already, and is not overwritten"])
    public, secret = new_pair()
    try:
        _write_for_owner(secret_file, f"{secret}\n")
        public_file.write_text(f"{public} {name}\n", "ascii")
    except (OSError, subprocess.CalledProcessError) as exc:
        raise ConfigError([f"{folder / name}: {exc}"]) from exc
    return Pair(secret_file, public_file, public)


def _write_for_owner(file: Path, text: str) -> None:
    """Write a new file that nobody else may read, from its first moment on."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        if sys.platform == "win32":  # where a mode says nothing: rights are taken away by name
            only = [f"{getpass.getuser()}:F"]
            command = ["icacls", str(file), "/inheritance:r", "/grant:r", *only]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        opened.write(text)
