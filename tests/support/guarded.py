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

    def rights(self, site: acl.Site) -> acl.Rights:
        """Say what it may do."""
        return acl.rights(self.role, site, self.name, self.symbols, jetstream=self.jetstream)


@contextmanager
def guarded_by(folder: Path, site: acl.Site, users: Sequence[User]) -> Iterator[NatsServer]:
    """Run a server with these users in one account."""
    entries = [acl.user_entry(user.role, user.name, user.rights(site)) for user in users]
    with _serving(folder, acl.configuration(entries), users) as server:
        yield server


@contextmanager
def guarded_by_accounts(
    folder: Path, site: acl.Site, users: Sequence[User]
) -> Iterator[NatsServer]:
    """Run a server with an account for each of these users, and one for the gateway."""
    accounts = acl.accounts(site, [(user.role, user.name, user.rights(site)) for user in users])
    gateway = User(acl.Role.GATEWAY, "gateway")
    with _serving(folder, accounts, [gateway, *users]) as server:
        yield server


@contextmanager
def _serving(folder: Path, configuration: str, users: Sequence[User]) -> Iterator[NatsServer]:
    """Run a server; the users' passwords come from its environment."""
    file = folder / "nats.conf"
    file.write_text(configuration, encoding="utf-8")
    server = NatsServer(folder, "-c", str(file))
    passwords = {acl.password_variable(user.name): PASSWORD for user in users}
    with patch.dict(os.environ, passwords):
        server.start()
    try:
        yield server
    finally:
        server.stop()
