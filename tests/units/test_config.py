"""The configuration reports every problem at once, and no secret."""

import re
from pathlib import Path

import pytest

from gateway.client import Mt4Client, NotConnected
from gateway.config import Config, load
from gateway.errors import ConfigError

PIPE = {"MT4GW_TERMINAL__TRANSPORT": "pipe", "MT4GW_TERMINAL__PIPE_NAME": "mt4"}


def problems(environment: dict[str, str], file: Path | None = None) -> list[str]:
    """Load, and return what was wrong."""
    with pytest.raises(ConfigError) as caught:
        load(file, environment)
    return caught.value.problems


def test_defaults_are_a_gateway_that_only_reads() -> None:
    """A fresh gateway trades nothing and listens on loopback only."""
    config = load(None, {})

    assert not config.policy.trading
    assert config.policy.require_deadline
    assert config.http.address.startswith("127.0.0.1:")


def test_environment_comes_after_the_file(tmp_path: Path) -> None:
    """A container's environment has the last word."""
    file = tmp_path / "gateway.toml"
    file.write_text('[terminal]\nname = "file"\nreply_timeout_s = 2.5\n')
    config = load(file, {"MT4GW_TERMINAL__NAME": "env", "UNRELATED": "x"})

    assert ("env", 2.5) == (config.terminal.name, config.terminal.reply_timeout_s)


def test_lists_in_the_environment_are_comma_separated() -> None:
    """`a,b` is two symbols."""
    config = load(None, {"MT4GW_TERMINAL__POLL_SYMBOLS": "EURUSD, GOLD spot"})

    assert ("EURUSD", "GOLD spot") == config.terminal.poll_symbols


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    """Nobody mends a file one error at a time."""
    file = tmp_path / "gateway.toml"
    file.write_text(
        '[terminal]\nname = "Bad Name"\nreply_timeout_s = -1\ncolour = "red"\n'
        '[http]\naddress = "nowhere"\n[nonsense]\nx = 1\n'
    )
    text = "\n".join(problems({"MT4GW_ODD": "1"}, file))

    for part in (
        "terminal.name",
        "terminal.reply_timeout_s",
        "terminal.colour: unknown key",
        "http.address",
        "nonsense: unknown key",
        "MT4GW_ODD: write MT4GW_<SECTION>__<KEY>",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        ({"MT4GW_NATS__USER": "u", "MT4GW_NATS__TOKEN": "t", "MT4GW_NATS__PASSWORD": "p"}, "one"),
        ({"MT4GW_NATS__USER": "u"}, "user and password go together"),
        ({"MT4GW_TERMINAL__HANG_TIMEOUT_S": "1"}, "hang_timeout_s is below"),
        ({"MT4GW_COMMANDS__DEFAULT_TIMEOUT_S": "90"}, "above maximum_timeout_s"),
        ({"MT4GW_TERMINAL__TRANSPORT": "pipe"}, "pipe_name go together"),
        ({"MT4GW_TERMINAL__PIPE_NAME": "mt4"}, "pipe_name go together"),
        (PIPE | {"MT4GW_TERMINAL__DIALECT": "metatrader4-server"}, "knows no pipe"),
        (PIPE | {"MT4GW_TERMINAL__PIPE_MODE": "text"}, "pipe_symbol go together"),
        (PIPE | {"MT4GW_TERMINAL__PIPE_CALL": "double"}, "pipe_call go together"),
        (PIPE | {"MT4GW_TERMINAL__PIPE_NAME": r"\\.\pipe\mt4"}, "terminal.pipe_name"),
    ],
)
def test_contradictions_are_reported(environment: dict[str, str], part: str) -> None:
    """Two values that cannot both hold."""
    assert part in "\n".join(problems(environment))


def test_secret_is_in_no_message_and_no_dump() -> None:
    """Neither an error nor a printed configuration shows it."""
    secret = "hunter2-hunter2"
    environment = {"MT4GW_NATS__PASSWORD": secret}
    said = "\n".join(problems(environment))
    config = load(None, environment | {"MT4GW_NATS__USER": "u"})

    assert secret not in said
    assert secret not in repr(config)
    assert secret not in config.model_dump_json()


@pytest.mark.parametrize(
    "address",
    [
        "nats://u:hunter2@127.0.0.1:no",
        "nats://u:hunter2@127.0.0.1:99999",
        "nats://u:hunter2@127.0.0.1:0",
        "nats://u:hun/ter2@127.0.0.1",
        "nats://u#x:hunter2@127.0.0.1",
        "nats://u:p://hunter2@127.0.0.1",
        "u:p://hunter2@127.0.0.1",
        "nats://u:hunter2@[::1",
        "nats://u:hunter2@",
        "nats://u:hunter2@127.0. 0.1",
        "http://127.0.0.1:4222",
        "ws://127.0.0.1:8080",
    ],
)
async def test_address_that_is_none_is_a_problem_and_not_tried_for_ever(address: str) -> None:
    """Of the gateway's configuration and of the client's; the login in it is not told."""
    (told,) = problems({"MT4GW_NATS__SERVERS": address})

    assert told.startswith("nats.servers: ")
    assert not re.search("hun|ter2", told)
    with pytest.raises(NotConnected) as caught:
        await Mt4Client.connect(address.split(","), connect_timeout_s=0.5)
    assert not re.search("hun|ter2", str(caught.value))


def test_addresses_as_nats_takes_them() -> None:
    """With and without a scheme, a port, a login."""
    servers = "127.0.0.1, nats.example:4222, nats://u:p@[::1]:4222, tls://nats.example, t@nats"

    assert 5 == len(load(None, {"MT4GW_NATS__SERVERS": servers}).nats.servers)


def test_broken_file_is_named(tmp_path: Path) -> None:
    """TOML errors and missing files are configuration errors, not tracebacks."""
    broken = tmp_path / "broken.toml"
    broken.write_text("[terminal\n")

    assert str(broken) in problems({}, broken)[0]
    for text in (f"a = {'[' * 5000}", f"a = {'1' * 5000}", "a = \ud800"):
        broken.write_text(text, errors="surrogatepass")
        assert str(broken) in problems({}, broken)[0]
    assert "absent.toml" in problems({}, tmp_path / "absent.toml")[0]


def test_schema_describes_every_section() -> None:
    """`config schema` is generated from the same model."""
    assert set(Config.model_fields) == set(Config.model_json_schema()["properties"])
