"""An exclusive lock on a file, held by the operating system so that it dies with its holder."""

import sys
from pathlib import Path


class FileLockedError(Exception):
    """Say that another holder has the lock."""


class FileLock:
    """Hold an exclusive lock from construction to `release`.

    Raises:
        FileLockedError: Somebody else holds it.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b")
        try:
            _lock(self._file.fileno())
        except OSError as error:
            self._file.close()
            raise FileLockedError(f"{path} is held by another terminal") from error

    def release(self) -> None:
        """Give the lock back."""
        self._file.close()


if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
