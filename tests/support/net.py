"""Help with sockets in tests."""

import socket


def free_port() -> int:
    """Return a TCP port that was free on loopback a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
