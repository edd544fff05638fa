"""A NATS server on which everybody has exactly the rights that `mt4-gateway acl` prints."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from gateway import acl
from tests.support.nats_server import NatsServer

PASSWORD = "of-everybody"


@dataclass(frozen=True, slots=True)
class User:
    """One user of the server."""

    role: acl.Role
    name: str
    symbols: tuple[str, ...] = ()
    jetstream: bool = False


@contextmanager
def guarded_by(folder: Path, site: acl.Site, users: Sequence[User]) -> Iterator[NatsServer]:
    """Run a server with these users; their passwords come from its environment."""
    entries = [
        acl.user_entry(
            user.role,
            user.name,
            acl.rights(user.role, site, user.name, user.symbols, jetstream=user.jetstream),
        )
        for user in users
    ]
    file = folder / "nats.conf"
    file.write_text(acl.configuration(entries), encoding="utf-8")
    server = NatsServer(folder, "-c", str(file))
    passwords = {acl.password_variable(user.name): PASSWORD for user in users}
    with patch.dict(os.environ, passwords):
        server.start()
    try:
        yield server
    finally:
        server.stop()
