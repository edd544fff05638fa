"""Help with sockets and pipes in tests."""

import itertools
import os
import socket

_numbers = itertools.count(1)


def free_port() -> int:
    """Return a TCP port that was free on loopback a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def free_pipe_name() -> str:
    """Return a pipe's name that nobody else uses."""
    return f"test-{os.getpid()}-{next(_numbers)}"
