"""Planted secrets are looked for in everything that the gateway says, writes and raises."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq

from gateway import keys
from gateway.cli import main
from gateway.client import Mt4Client, NotConnected
from gateway.config import Config, load
from gateway.doctor import examine
from gateway.errors import ConfigError
from gateway.nats_login import Login
from gateway.sim.options import SimCurve
from tests.support.nats_server import NatsServer
from tests.support.net import free_port
from tests.support.nkeys import Key, credentials
from tests.support.stack import QUIET, Stack, eventually

PLANTED = "pl4nted"
"""Part of every secret, as far as it can be chosen."""


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[NatsServer, Path]]:
    """Run a server with one user, and give the file of its configuration."""
    file = tmp_path / "nats.conf"
    file.write_text(f"authorization {{ user: gateway, password: {PLANTED}-one }}", "utf-8")
    server = NatsServer(tmp_path, "-c", str(file))
    server.start()
    yield server, file
    server.stop()


async def test_running_gateway_tells_no_secret(
    guarded: tuple[NatsServer, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its whole log, status, metrics and results, through a refused login and a mistake."""
    caplog.set_level(logging.DEBUG)
    server, configuration = guarded
    ours, terminal = keys.make(tmp_path, "gateway"), keys.make(tmp_path, "terminal")
    curve_secrets = [pair.secret_file.read_text("ascii").strip() for pair in (ours, terminal)]
    file = tmp_path / "password"
    file.write_text(f"{PLANTED}-one", "ascii")
    login = {"user": "gateway", "password": f"{PLANTED}-one"}
    encrypted = replace(QUIET, curve=SimCurve(terminal.public.encode(), curve_secrets[1].encode()))
    said: list[Any] = []
    async with Stack(
        server.url,
        encrypted,
        transport="zmq",  # over a pipe there are no keys
        client_options=login,
        nats={"user": "gateway", "password_file": file},
        terminal={
            "curve_secret_key": ours.secret_file,
            "curve_server_key": terminal.public_file,
        },
    ) as stack:
        said.append((await stack.buy()).body)
        said.append((await stack.client.trade("DO_ORDER_SEND", {"lots": PLANTED[:2]})).body)
        configuration.write_text(
            f"authorization {{ user: gateway, password: {PLANTED}-two }}", "utf-8"
        )
        server.reload()
        await eventually(lambda: "refuses the login" in str(stack.app.bus.last_error))
        said += [stack.app.describe(), stack.app.not_ready_because(), stack.app.bus.last_error]
        file.write_text(f"{PLANTED}-two", "ascii")
        await eventually(lambda: stack.metric("nats_reconnects_total"))
        said += [stack.app.config, stack.app.bus._login, repr(stack.app.bus._login)]
        said.append(stack.app.metrics.render("text/plain"))
        await stack.client.close()
    said.append(caplog.text)

    assert "refuses the login" in caplog.text
    for secret in (PLANTED, *curve_secrets):
        assert secret not in str(said)
        assert secret not in json.dumps(said, default=repr)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Write files with secrets, some of them with a mistake."""
    user, account = Key("user"), Key("account")
    texts = {
        "seed": user.seed,
        "spoiled seed": f"{user.seed[:-1]}1",
        "creds": credentials(account, user),
        "cut creds": credentials(account, user)[:-40],
        "password": f"{PLANTED}\n{PLANTED}",
        "curve": f"{PLANTED}{zmq.curve_keypair()[1].decode()}",
    }
    made = {name: tmp_path / name for name in texts}
    for name, text in texts.items():
        made[name].write_text(text, "ascii")
        made[name].chmod(0o600)
    return made


MISTAKES: dict[str, dict[str, str]] = {
    "two ways": {"NATS__USER": "u", "NATS__PASSWORD": PLANTED, "NATS__TOKEN": PLANTED},
    "no user": {"NATS__PASSWORD": PLANTED},
    "twice": {"NATS__USER": "u", "NATS__PASSWORD": PLANTED, "NATS__PASSWORD_FILE": "password"},
    "unknown key": {"NATS__PASSWRD": PLANTED},
    "wrong section": {"TERMINAL__PASSWORD": PLANTED},
    "not a section": {"NATS_PASSWORD": PLANTED},
    "in an address": {"NATS__SERVERS": f"nats://u:{PLANTED}@host", "NATS__TOKEN": PLANTED * 2},
    "in an address beside a mistake": {
        "NATS__SERVERS": f"nats://u:{PLANTED}@host",
        "NATS__ROUND_TRIP_TIMEOUT_S": PLANTED,
    },
    "two lines": {"NATS__USER": "u", "NATS__PASSWORD_FILE": "password"},
    "spoiled seed": {"NATS__NKEY": "spoiled seed"},
    "cut credentials": {"NATS__CREDENTIALS": "cut creds"},
    "seed for credentials": {"NATS__CREDENTIALS": "seed"},
    "credentials for seed": {"NATS__NKEY": "creds"},
    "key for certificate": {"NATS__TLS_CA": "seed"},
    "long curve key": {"TERMINAL__CURVE_SECRET_KEY": "curve"},
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_the_configuration_is_told_without_the_secret(
    mistake: str,
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the command line, by the exception, and by its traceback with all that led to it."""
    environment = {
        f"MT4GW_{key}": str(files.get(value, value)) for key, value in MISTAKES[mistake].items()
    }
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    codes = [main(["config", "check"])]
    texts = []
    try:
        config = load(None, environment)
        texts += [repr(config), str(config), config.model_dump_json()]
        Login(config.nats).check()
    except ConfigError as exc:
        texts += [str(exc), *traceback.format_exception(exc)]
    said = capsys.readouterr()
    secrets = {PLANTED, *(line for file in files.values() for line in file.read_text().split())}

    assert codes in ([0], [2])
    assert texts
    for secret in (one for one in secrets if "---" not in one and len(one) > 6):
        assert secret not in "".join([*texts, said.out, said.err])


async def test_server_that_is_not_there_is_named_without_the_login_in_its_address() -> None:
    """By the client's exception, with all that led to it, and by the doctor."""
    where = f"127.0.0.1:{free_port()}"
    address = f"nats://user:{PLANTED}@{where}"
    with pytest.raises(NotConnected) as told:
        await Mt4Client.connect(address, connect_timeout_s=0.1)
    terminal = {"request_endpoint": f"tcp://127.0.0.1:{free_port()}"}
    config = Config.model_validate({"nats": {"servers": (address,)}, "terminal": terminal})
    findings = [finding async for finding in examine(config, patience_s=0.1)]
    said = "".join([*traceback.format_exception(told.value), repr(findings)])

    assert 2 == said.count(f"NATS at nats://{where}")
    assert PLANTED not in said
