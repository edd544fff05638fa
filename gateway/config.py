"""The configuration: a TOML file, then `MT4GW_<SECTION>__<KEY>` from the environment.

Every value has a unit, a default and a range, here and nowhere else; docs/configuration.md is
generated from this file. Unknown keys, bad values and contradictions are reported together.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from gateway.core.exchange import Rules
from gateway.core.messages import Lane
from gateway.errors import ConfigError
from gateway.policy_settings import Alias, Policy, SymbolName

ENVIRONMENT_PREFIX = "MT4GW_"
SCHEMES = ("nats", "tls")

Endpoint = Annotated[
    str,
    StringConstraints(pattern=r"^(tcp://(\*|\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}|ipc://.+)$"),
]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
PipeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
CallName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Section(BaseModel):
    """What all sections share: immutable, no unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        defer_build=True,
        hide_input_in_errors=True,  # a traceback would show a secret
    )


class Terminal(Section):
    """The MetaTrader 4 terminal this gateway serves."""

    name: Alias = Field("demo", description="The terminal's alias on the bus.")
    transport: Literal["zmq", "pipe"] = Field(
        "zmq", description="How the terminal is reached: ZeroMQ, or a named pipe (no DLL)."
    )
    dialect: Literal["auto", "bridge", "metatrader4-server"] = Field(
        "auto", description="The protocol it speaks; `auto` asks with `HELLO`."
    )
    request_endpoint: Endpoint = Field(
        "tcp://127.0.0.1:28282",
        description="Commands. Connects; binds when written `tcp://*:PORT`.",
    )
    tick_endpoint: Endpoint | None = Field(
        "tcp://127.0.0.1:28283",
        description="Ticks and events (bridge dialect). Connects; binds when `tcp://*:PORT`.",
    )
    curve_secret_key: Path | None = Field(
        None,
        description="File with our secret key (`mt4-gateway keys`): encrypts both connections.",
    )
    curve_server_key: Path | None = Field(
        None, description="File with the terminal's public key, where we connect."
    )
    curve_client_keys: Path | None = Field(
        None,
        description="File with the public keys of terminals that may connect, one a line, where "
        "we bind; read again at each connection.",
    )
    pipe_name: PipeName | None = Field(
        None,
        description=r"Transport `pipe`: NAME of `\\.\pipe\NAME`, which the gateway makes.",
    )
    pipe_mode: Literal["json", "text"] = Field(
        "json",
        description="`text`: bare numbers, one per line, each a tick and a question; no commands.",
    )
    pipe_symbol: SymbolName | None = Field(
        None, description="Pipe mode `text`: the symbol whose price the numbers are."
    )
    pipe_call: CallName | None = Field(
        None, description="Pipe mode `text`: the call that answers a number (`call.<name>`)."
    )
    reply_timeout_s: Seconds = Field(
        5.0, description="A reply is missed after this. For a trade nothing is decided by it."
    )
    patience_s: Seconds = Field(
        15.0, description="How long a trade's missing reply is awaited before the line is probed."
    )
    hang_timeout_s: Seconds = Field(
        60.0, description="A terminal that answers nothing, probes neither, is left after this."
    )
    settle_s: Seconds = Field(
        70.0,
        description="Existing server: how long a stale order may still run after a lost link.",
    )
    ambiguous_s: Seconds = Field(
        65.0, description="Existing server: the wait after a code that leaves it open (128, ...)."
    )
    search_gap_s: Seconds = Field(5.0, description="Existing server: between two searches.")
    give_up_s: Seconds = Field(
        900.0, description="How long to find out what became of a trade before saying unknown."
    )
    watch_interval_s: Seconds = Field(
        60.0, description="What ended as unknown is looked at again this often, for a day."
    )
    probe_interval_s: Seconds = Field(
        5.0, description="An idle terminal is asked for a sign of life this often."
    )
    down_grace_s: float = Field(
        5.0,
        ge=0,
        le=3600,
        description="Commands wait this long for an absent terminal; later ones are denied (502).",
    )
    poll_symbols: tuple[SymbolName, ...] = Field(
        (), description="Existing server: symbols whose ticks are polled (it publishes none)."
    )
    poll_interval_s: Seconds = Field(0.5, description="Existing server: pause between polls.")
    event_interval_s: float = Field(
        2.0,
        ge=0,
        le=3600,
        description="Existing server: pause between two looks for what happened to orders and "
        "account (it tells no events); 0 for never.",
    )

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        endpoints = [self.request_endpoint, self.tick_endpoint or self.request_endpoint]
        binds = [endpoint.startswith("tcp://*") for endpoint in endpoints]
        wanted = {"curve_client_keys": any(binds), "curve_server_key": not all(binds)}
        for name, is_wanted in wanted.items():
            is_given = getattr(self, name) is not None
            if is_given and self.curve_secret_key is None:
                raise ValueError(f"{name} goes with curve_secret_key")
            if self.curve_secret_key is not None and is_given != is_wanted:
                does = "binds" if name == "curve_client_keys" else "connects"
                what = "is missing: an" if is_wanted else "is of no use: no"
                raise ValueError(f"{name} {what} endpoint {does}")
        return self

    @model_validator(mode="after")
    def _pipe_is_whole(self) -> Self:
        if (self.transport == "pipe") != (self.pipe_name is not None):
            raise ValueError('transport = "pipe" and pipe_name go together')
        if self.transport == "pipe" and self.dialect == "metatrader4-server":
            raise ValueError("the existing server knows no pipe: dialect must be auto or bridge")
        for key in ("pipe_symbol", "pipe_call"):
            is_set = getattr(self, key) is not None
            if is_set != (self.transport == "pipe" and self.pipe_mode == "text"):
                raise ValueError(f'pipe_mode = "text" (of transport "pipe") and {key} go together')
        return self

    @property
    def address(self) -> str:
        """Name what requests go to, for people."""
        return f"pipe {self.pipe_name}" if self.transport == "pipe" else self.request_endpoint


def without_secret(address: str) -> str:
    """Write a server's address without the login that may stand in it."""
    scheme, slashes, rest = address.partition("://")
    if not slashes or "@" in scheme or ":" in scheme:
        scheme, slashes, rest = "", "", address
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


def problem_in(addresses: Sequence[str]) -> str | None:
    """Say why nothing could ever connect to servers' addresses, without the logins in them."""
    for address in addresses:
        if not _is_address(address):
            return (
                f"{without_secret(address)!r} is no address such as nats://127.0.0.1:4222; in a "
                "login that stands in it, / ? # [ ] are not possible: give it by keys of its own"
            )
    return None


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text if "://" in text else f"nats://{text}")
        is_whole = parts.netloc.count("@") == text.count("@") and not re.search(r"\s", text)
        return bool(parts.scheme in SCHEMES and parts.hostname and parts.port != 0 and is_whole)
    except ValueError:  # a port that is none
        return False


class Nats(Section):
    """The connection to the bus. Secrets come from files or the environment."""

    servers: tuple[str, ...] = Field(
        ("nats://127.0.0.1:4222",),
        min_length=1,
        description="Server addresses.",
        repr=False,  # a login may stand in them
    )
    credentials: Path | None = Field(None, description="File with JWT and seed (`.creds`).")
    nkey: Path | None = Field(None, description="File with an nkey seed.")
    user: str | None = Field(None, description="User name.")
    password: SecretStr | None = Field(None, description="Password; with `user`.")
    password_file: Path | None = Field(
        None, description="File with the password, instead; read again at each reconnect."
    )
    token: SecretStr | None = Field(None, description="Token.")
    token_file: Path | None = Field(
        None, description="File with the token, instead; read again at each reconnect."
    )
    inbox_prefix: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")
    ] = Field("_INBOX", description="Where answers to us come; with permissions, an own one.")
    tls_ca: Path | None = Field(None, description="CA file; switches TLS on.")
    tls_certificate: Path | None = Field(None, description="Client certificate file.")
    tls_key: Path | None = Field(None, description="Client key file; with `tls_certificate`.")
    round_trip_interval_s: Seconds = Field(5.0, description="The watchdog measures this often.")
    round_trip_timeout_s: Seconds = Field(
        5.0, description="A bus silent this long is reconnected to."
    )

    @field_validator("servers")
    @classmethod
    def _can_be_reached(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        if (problem := problem_in(servers)) is not None:
            raise ValueError(problem)
        return servers

    @field_serializer("servers")
    def _without_secrets(self, servers: tuple[str, ...]) -> list[str]:
        return [without_secret(server) for server in servers]

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        names = ("credentials", "nkey", "user", "token", "token_file")
        ways = [name for name in names if getattr(self, name)]
        if len(ways) > 1:
            raise ValueError(f"only one of these may be set: {', '.join(ways)}")
        if self.password is not None and self.password_file is not None:
            raise ValueError("only one of these may be set: password, password_file")
        if (self.user is None) != (self.password is None and self.password_file is None):
            raise ValueError("user and password go together (or password_file)")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        return self


class Bus(Section):
    """Names and encodings on the bus."""

    prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")] = (
        Field("mt4", description="First token of every subject.")
    )
    encoding: Literal["json", "msgpack"] = Field(
        "json", description="Body of published results and events; replies use the request's."
    )
    inbox_prefixes: tuple[str, ...] = Field(
        ("_INBOX", "_INBOX_*", "_R_"),
        min_length=1,
        description="Replies go only to subjects below one of these; a `*` at the end of one "
        "stands for a user's name. `_R_` is what NATS makes of an inbox in another account.",
    )


class FrontDoor(Section):
    """For clients of the existing server, unchanged: they connect here instead."""

    endpoint: Endpoint | None = Field(
        None, description="Where we listen, `tcp://127.0.0.1:28280`; none: closed."
    )
    client: Alias = Field("front-door", description="The name under which they trade.")
    timeout_s: Seconds = Field(
        8.0, description="The deadline of what they ask; below their own patience (10 s)."
    )
    curve_secret_key: Path | None = Field(
        None, description="File with our secret key, where clients speak CURVE."
    )
    curve_client_keys: Path | None = Field(
        None, description="File with the public keys of clients that may connect, one a line."
    )
    named_by_key: bool = Field(
        False,
        description="Each trades under the name that follows its key in `curve_client_keys`, "
        "instead of under `client`.",
    )
    unencrypted: bool = Field(
        False, description="Allow an endpoint that other machines reach, without keys."
    )

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        if (self.curve_secret_key is None) != (self.curve_client_keys is None):
            raise ValueError("curve_secret_key and curve_client_keys go together")
        if self.named_by_key and self.curve_client_keys is None:
            raise ValueError("named_by_key needs curve_client_keys")
        own = ("tcp://127.0.0.1:", "tcp://localhost:", "tcp://[::1]:", "ipc://")
        is_open = self.endpoint is not None and not self.endpoint.startswith(own)
        if is_open and self.curve_secret_key is None and not self.unencrypted:
            raise ValueError(
                f"endpoint {self.endpoint} is reached by other machines, and whoever reaches it "
                "may trade: listen on 127.0.0.1, set keys, or set unencrypted = true"
            )
        return self


class Commands(Section):
    """Queues, timeouts and retries."""

    reduce_capacity: int = Field(256, ge=1, le=100_000, description="Closes, deletes waiting.")
    trade_capacity: int = Field(256, ge=1, le=100_000, description="Other trades waiting.")
    read_capacity: int = Field(1024, ge=1, le=100_000, description="Queries waiting.")
    poll_capacity: int = Field(256, ge=1, le=100_000, description="Polls and slow reads waiting.")
    default_timeout_s: Seconds = Field(10.0, description="For commands that name no deadline.")
    maximum_timeout_s: Seconds = Field(60.0, description="No deadline is further away than this.")
    send_margin_s: float = Field(
        0.2, ge=0, le=60, description="A trade is not sent when its deadline is nearer than this."
    )
    retry_codes: tuple[int, ...] = Field(
        (146,), description="Codes meaning *nothing ran* after which a trade is tried again."
    )
    first_retry_s: Seconds = Field(0.05, description="First pause before a retry; it doubles.")
    longest_retry_s: Seconds = Field(1.0, description="Longest pause before a retry.")

    @model_validator(mode="after")
    def _timeouts_fit(self) -> Self:
        if self.default_timeout_s > self.maximum_timeout_s:
            raise ValueError("default_timeout_s is above maximum_timeout_s")
        if self.first_retry_s > self.longest_retry_s:
            raise ValueError("first_retry_s is above longest_retry_s")
        return self


class Journal(Section):
    """What is remembered of trades, in JetStream. Without it nothing is traded."""

    replicas: int = Field(1, ge=1, le=5, description="Of each stream; 3 on a cluster of three.")
    retention_days: int = Field(
        30, ge=1, le=3650, description="How long a trade's result is kept and its id refused."
    )
    provision: Literal["create", "verify"] = Field(
        "create", description="Make and update the streams, or only check that they are right."
    )
    most_jobs: int = Field(
        10_000, ge=1, description="Jobs that may wait; a publisher is refused beyond."
    )
    most_audit_records: int = Field(
        200_000, ge=1, description="Records of the audit that are kept; some hundred bytes each."
    )


class Ha(Section):
    """Active and standby: who holds the lease serves; any other waits for it."""

    lease_ttl_s: int = Field(
        5,
        ge=1,
        le=3600,
        description="A gateway that is gone is replaced after this. Whole seconds.",
    )


class Ticks(Section):
    """The tick path."""

    encoding: Literal["msgpack", "json"] = Field("msgpack", description="Body of a tick.")
    symbols: tuple[SymbolName, ...] = Field(
        (), description="Symbols with metrics of their own; all others count as `other`."
    )
    last_value: bool = Field(
        True, description="Keep the last tick per symbol in a memory stream (needs JetStream)."
    )
    conflate_after_s: float = Field(
        0.05,
        gt=0,
        le=10,
        description="When NATS has not confirmed for so long what it was sent, only the newest "
        "tick per symbol is kept until it does.",
    )


class Http(Section):
    """Metrics, probes and status."""

    address: Annotated[str, StringConstraints(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$")] = (
        Field("127.0.0.1:9464", description="HOST:PORT.")
    )


class Log(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level.")
    format: Literal["text", "json"] = Field("text", description="For people or for machines.")


class Config(Section):
    """Everything."""

    terminal: Terminal = Field(default_factory=Terminal)
    nats: Nats = Field(default_factory=Nats)
    bus: Bus = Field(default_factory=Bus)
    front_door: FrontDoor = Field(default_factory=FrontDoor)
    commands: Commands = Field(default_factory=Commands)
    journal: Journal = Field(default_factory=Journal)
    ha: Ha = Field(default_factory=Ha)
    ticks: Ticks = Field(default_factory=Ticks)
    policy: Policy = Field(default_factory=Policy)
    http: Http = Field(default_factory=Http)
    log: Log = Field(default_factory=Log)

    @model_validator(mode="after")
    def _timeouts_fit(self) -> Self:
        if self.terminal.hang_timeout_s < self.terminal.reply_timeout_s:
            raise ValueError("terminal.hang_timeout_s is below terminal.reply_timeout_s")
        if self.front_door.timeout_s > self.commands.maximum_timeout_s:
            raise ValueError("front_door.timeout_s is above commands.maximum_timeout_s")
        return self

    def rules(self) -> Rules:
        """Gather what an exchange needs to know."""
        terminal, commands = self.terminal, self.commands
        return Rules(
            reply_timeout_s=terminal.reply_timeout_s,
            patience_s=terminal.patience_s,
            settle_s=terminal.settle_s,
            ambiguous_s=terminal.ambiguous_s,
            search_gap_s=terminal.search_gap_s,
            give_up_s=terminal.give_up_s,
            send_margin_s=commands.send_margin_s,
            first_pause_s=commands.first_retry_s,
            longest_pause_s=commands.longest_retry_s,
            retry_codes=frozenset(commands.retry_codes),
        )

    def capacities(self) -> dict[Lane, int]:
        """Say how many commands may wait per lane."""
        commands = self.commands
        return {
            Lane.REDUCE: commands.reduce_capacity,
            Lane.TRADE: commands.trade_capacity,
            Lane.READ: commands.read_capacity,
            Lane.POLL: commands.poll_capacity,
        }


def load(file: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration.

    Args:
        file: A TOML file, or None for defaults and environment alone.
        environment: `MT4GW_<SECTION>__<KEY>`; lists are comma separated.

    Raises:
        ConfigError: With every problem, one line each.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    if file is not None:
        try:
            values = tomllib.loads(file.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as exc:
            raise ConfigError([f"{file}: {exc}"]) from exc
    for name, value in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX):
            problems += _apply(values, name, value)
    try:
        config = Config.model_validate(values)
    except ValidationError as exc:
        raise ConfigError(problems + [_explain(error) for error in exc.errors()]) from exc
    if problems:
        raise ConfigError(problems)
    return config


def _apply(values: dict[str, Any], name: str, value: str) -> list[str]:
    """Set one environment variable's value; return what is wrong with its name."""
    match = re.fullmatch(
        r"([A-Z0-9]+(?:_[A-Z0-9]+)*)__([A-Z0-9_]+)", name.removeprefix(ENVIRONMENT_PREFIX)
    )
    if match is None:
        return [f"{name}: write {ENVIRONMENT_PREFIX}<SECTION>__<KEY>"]
    section, key = match[1].lower(), match[2].lower()
    field = _field(section, key)
    is_list = field is not None and "tuple" in str(field.annotation)
    table = values.setdefault(section, {})
    if not isinstance(table, dict):
        return [f"{name}: [{section}] is not a table in the file"]
    table[key] = [part.strip() for part in value.split(",") if part.strip()] if is_list else value
    return []


def _field(section: str, key: str) -> Any:
    model = Config.model_fields.get(section)
    if model is None or not isinstance(model.annotation, type):
        return None
    return model.annotation.model_fields.get(key)


def _explain(error: Any) -> str:
    """Write one problem as `section.key: what is wrong (got value)`; never a secret's value."""
    path = ".".join(str(part) for part in error["loc"]) or "configuration"
    text = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"{path}: unknown key"
    is_secret = path.startswith("nats")
    is_section = isinstance(error["input"], BaseModel | dict)
    got = "" if is_secret or is_section else f" (got {error['input']!r})"
    return f"{path}: {text}{got}"
