"""Help with sockets and pipes in tests."""

import itertools
import os
import socket

LEAST_PORT, PORTS = 12_000, 20_000
"""Below what systems give to connections: a free port of those is soon somebody's."""

_numbers = itertools.count(1)
_ports = itertools.count(os.getpid() * 331)


def free_port() -> int:
    """Return a TCP port that was free on loopback a moment ago, and that no connection is given."""
    while True:
        port = LEAST_PORT + next(_ports) % PORTS
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


def free_pipe_name() -> str:
    """Return a pipe's name that nobody else uses."""
    return f"test-{os.getpid()}-{next(_numbers)}"
