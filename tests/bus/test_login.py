"""Every way to log in is tried at a real server that refuses everybody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import NoServersError

from gateway.config import Nats
from gateway.errors import ConfigError
from gateway.nats_login import connect_options
from tests.support.nats_server import NatsServer
from tests.support.nkeys import Key, credentials, server_configuration


@contextmanager
def serving(folder: Path, configuration: str) -> Iterator[str]:
    """Run a server with a configuration; its address."""
    file = folder / "nats.conf"
    file.write_text(configuration, encoding="utf-8")
    server = NatsServer(folder, "-c", str(file))
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


async def can_talk(url: str, settings: Nats) -> bool:
    """Log in and hear one's own message."""
    client = Client()
    try:
        await client.connect(
            url, **connect_options(settings), max_reconnect_attempts=1, reconnect_time_wait=0
        )
        heard = await client.subscribe("greeting")
        await client.publish("greeting", b"hello")
        return (await heard.next_msg(timeout=5)).data == b"hello"
    finally:
        await client.close()


async def test_nkey_logs_in(tmp_path: Path) -> None:
    """A file with a seed is enough; the package `nkeys` is not needed."""
    user = Key("user")
    file = tmp_path / "seed"
    file.write_text(f"{user.seed}\n", encoding="ascii")
    with serving(tmp_path, f"authorization {{ users: [{{nkey: {user.public}}}] }}") as url:
        assert await can_talk(url, Nats(nkey=file))


async def test_other_nkey_is_refused(tmp_path: Path) -> None:
    """The server knows the one from the other, so the test above proves something."""
    file = tmp_path / "seed"
    file.write_text(Key("user").seed, encoding="ascii")
    known = Key("user").public
    with (
        serving(tmp_path, f"authorization {{ users: [{{nkey: {known}}}] }}") as url,
        pytest.raises(NoServersError),
    ):
        await can_talk(url, Nats(nkey=file))


async def test_credentials_log_in(tmp_path: Path) -> None:
    """A `.creds` file of an operator's account: its JWT, and a signature by its seed."""
    operator, account, user = Key("operator"), Key("account"), Key("user")
    file = tmp_path / "user.creds"
    file.write_text(credentials(account, user), encoding="ascii")
    with serving(tmp_path, server_configuration(operator, account)) as url:
        assert await can_talk(url, Nats(credentials=file))


@pytest.mark.parametrize(
    "seed",
    ["", "SUA", "not base 32!", Key("user").public],
    ids=["empty", "short", "no base 32", "a public key"],
)
def test_bad_seed_is_a_problem_of_the_configuration(seed: str, tmp_path: Path) -> None:
    """It is found before anything connects, and the seed itself is not printed."""
    file = tmp_path / "seed"
    file.write_text(seed, encoding="ascii")

    with pytest.raises(ConfigError, match="not an nkey seed"):
        connect_options(Nats(nkey=file))
