r"""Where a pipe's name leads, and listening there.

On Windows it is the named pipe `\\.\pipe\NAME`; elsewhere a Unix socket `NAME.pipe` with the same
lines, in a folder of this user. Windows lets only this user (and administrators) write into a pipe
that is made without further words; others may open it to read, and nothing is told to a client
before it has said who it is. The folder's mode does the same elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

BUFFER_BYTES = 65_536
"""Of a Windows pipe, each way: what can be written before somebody reads."""


class Listening(Protocol):
    """What has a name; `close` gives it up."""

    def close(self) -> None:
        """Take no more clients. Those that are there stay."""


def pipe_folder() -> Path:
    """Return the folder of the sockets that stand for pipes where there is no Windows."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "mt4-gateway"
    return Path(tempfile.gettempdir()) / f"mt4-gateway-{os.getuid()}"


def pipe_address(name: str) -> str:
    """Return the name as programs of this machine open it."""
    if sys.platform == "win32":
        return rf"\\.\pipe\{name}"
    return str(pipe_folder() / f"{name}.pipe")


if sys.platform == "win32":

    async def listen(name: str, factory: Callable[[], asyncio.Protocol]) -> Listening:
        """Make the pipe; a new instance of it waits as soon as one is taken.

        Raises:
            OSError: Another process has a pipe of that name.
        """
        from asyncio import windows_utils  # noqa: PLC0415 - exists on Windows only

        windows_utils.BUFSIZE = BUFFER_BYTES  # no argument leads there
        loop = asyncio.get_running_loop()
        assert isinstance(loop, asyncio.ProactorEventLoop)
        (server,) = await loop.start_serving_pipe(factory, pipe_address(name))
        return server

else:

    class _Socket:
        """A Unix socket that listens, and its file."""

        def __init__(self, server: asyncio.AbstractServer, path: str) -> None:
            self._server = server
            self._path = Path(path)

        def close(self) -> None:
            # While it listens the file is its own; a moment later it may be the next one's.
            self._path.unlink(missing_ok=True)
            self._server.close()

    async def listen(name: str, factory: Callable[[], asyncio.Protocol]) -> Listening:
        """Make the socket, in place of one that nobody listens to any more.

        Raises:
            OSError: Another process listens there, or the folder is not ours alone.
        """
        _make_folder(pipe_folder())
        path = pipe_address(name)
        if _is_served(path):
            raise OSError(f"another process listens at {path}")
        server = await asyncio.get_running_loop().create_unix_server(factory, path)
        return _Socket(server, path)

    def _make_folder(folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()  # a link could be led elsewhere later, by whoever has made it
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise OSError(f"{folder} must belong to this user alone (mode 0700), and be no link")

    def _is_served(path: str) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            except BlockingIOError:
                return True  # it is there, and too busy to take anybody
            return True
