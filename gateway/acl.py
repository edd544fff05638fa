"""What each role may do on the bus, as permissions of a NATS server: `mt4-gateway acl`. Pure.

Who somebody is stands in the subject, so a right to publish there is the right to that name.
Everybody has an inbox of their own, else each could read what the others are answered. The
gateway may answer what it was asked (`allow_responses`) and publish into nobody's inbox else.

Nobody but the gateway reaches JetStream, unless asked for. JetStream answers to whatever reply
subject a message names, and no permission looks at that: who may publish a job, or ask for a last
tick, can have the answer stored in the place of any record of the journal.
See tests/bus/test_permissions.py::test_jetstream_answers_into_the_journal.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from gateway.actions import ACTIONS
from gateway.config import Config
from gateway.core.messages import Lane
from gateway.subjects import StreamNames, Subjects

TELLS_ONLY = frozenset({"SUBSCRIBE_TICKS", "UNSUBSCRIBE_TICKS"})
"""Reads that change what everybody gets; who only looks may not do them."""

DISCOVERY = ("$SRV.*", "$SRV.*.mt4-gateway", "$SRV.*.mt4-gateway.*")
MADE = ("CREATE", "UPDATE")


class Role(StrEnum):
    """Who somebody is to the gateway."""

    VIEWER = "viewer"
    TICKS = "ticks"
    STRATEGY = "strategy"
    RISK = "risk"
    OPERATOR = "operator"
    GATEWAY = "gateway"


MEANS = {
    Role.VIEWER: "reads and follows everything, trades nothing",
    Role.TICKS: "prices only, of the symbols named",
    Role.STRATEGY: "reads, and trades under its own name",
    Role.RISK: "sees all results, closes and deletes under its own name, halts; cannot resume",
    Role.OPERATOR: "halts, resumes, hands over; cannot trade",
    Role.GATEWAY: "the service itself; active and standby alike",
}


@dataclass(frozen=True, slots=True)
class Rights:
    """What one user may do; everything else is refused.

    Attributes:
        deny: Exceptions from `publish`.
        answers_for_s: How long after a request it may be answered; None: it answers nobody.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    deny: tuple[str, ...] = ()
    answers_for_s: int | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """The terminal that rights are for.

    Attributes:
        provision: As in `[journal]`: with `verify` the gateway makes no streams.
        longest_answer_s: How long the gateway may take to answer at most.
    """

    names: Subjects
    provision: Literal["create", "verify"] = "create"
    longest_answer_s: float = 960.0

    @classmethod
    def of(cls, config: Config) -> Site:
        """Take names and times from a configuration."""
        longest_answer_s = config.commands.maximum_timeout_s + config.terminal.give_up_s
        names = Subjects(config.bus.prefix, config.terminal.name)
        return cls(names, config.journal.provision, longest_answer_s)

    @property
    def streams(self) -> StreamNames:
        """Name the terminal's streams."""
        return self.names.streams


def inbox_of(client: str) -> str:
    """Name the inbox that belongs to one user alone."""
    return f"_INBOX_{client}"


def rights(
    role: Role,
    site: Site,
    client: str,
    symbols: Sequence[str] = (),
    *,
    jetstream: bool = False,
) -> Rights:
    """Say what a role may do.

    Args:
        role: Which.
        site: Where.
        client: The user's name; a strategy's or risk bot's is the client that it trades as.
        symbols: Whose ticks may be followed; empty for all.
        jetstream: Also what only JetStream can do: jobs, last ticks; for the operator, a look
            into the streams. It takes the trust that the gateway itself has.
    """
    if role is Role.GATEWAY:
        return _gateway(site, f"{inbox_of(client)}.>")
    names = site.names
    publish, subscribe, deny = _of_people(role, names, client)
    ticks = tuple(names.tick(symbol) for symbol in symbols or ("*",))
    if jetstream:
        publish += tuple(f"$JS.API.DIRECT.GET.{site.streams.ticks}.{tick}" for tick in ticks)
        trades, jobs = f"{names.base}.trade.", f"{names.base}.job."
        publish += tuple(
            jobs + subject.removeprefix(trades) for subject in publish if subject.startswith(trades)
        )
        publish += _looks_into_streams(site) if role is Role.OPERATOR else ()
    return Rights(publish, (*ticks, *subscribe, f"{inbox_of(client)}.>"), deny)


def _of_people(
    role: Role, names: Subjects, client: str
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return what a role may publish and subscribe to, beside ticks, and the exceptions."""
    reads = (names.query("*"), names.control("status"), *DISCOVERY)
    every = (names.event("*"), names.result("*", "*"))
    asks = names.command("*", "*")
    match role:
        case Role.VIEWER:
            deny = tuple(names.query(action) for action in sorted(TELLS_ONLY))
            return (*reads, asks), every, deny
        case Role.STRATEGY:
            own = (names.event("*"), names.result(client, "*"))
            return (*reads, names.trade(client, "*"), names.command(client, "*")), own, ()
        case Role.RISK:
            closes = (name for name, action in ACTIONS.items() if action.lane is Lane.REDUCE)
            trades = (names.trade(client, action) for action in closes)
            return (*reads, *trades, asks, names.control("halt")), every, ()
        case Role.OPERATOR:
            verbs = (names.control(verb) for verb in ("halt", "resume", "stepdown"))
            return (*reads, asks, *verbs), every, ()
    return (), (), ()


def _looks_into_streams(site: Site) -> tuple[str, ...]:
    """Read streams and their settings; nothing here takes a message away or changes one."""
    return (
        "$JS.API.INFO",
        *(
            f"$JS.API.{verb}.{stream}"
            for stream in site.streams
            for verb in ("STREAM.INFO", "STREAM.MSG.GET")
        ),
        *(
            f"$JS.API.DIRECT.GET.{stream}.>"
            for stream in (site.streams.journal, site.streams.dead, site.streams.audit)
        ),
        f"$JS.API.CONSUMER.INFO.{site.streams.jobs}.*",
    )


def _gateway(site: Site, inbox: str) -> Rights:
    names = site.names
    verbs = ("INFO", *(MADE if site.provision == "create" else ()))
    consumers = (
        "CONSUMER.INFO",
        "CONSUMER.MSG.NEXT",
        "CONSUMER.PAUSE",
        "CONSUMER.RESET",
        *(("CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE") if site.provision == "create" else ()),
    )
    publish = (
        names.result("*", "*"),
        names.tick("*"),
        names.event("*"),
        names.dead("*", "*"),
        names.audit("*", "*"),
        f"{names.base}.call.*",
        names.control("status"),  # to find out, without JetStream, whether another one serves
        f"{names.journal_base}.>",
        "$JS.API.INFO",
        *(f"$JS.API.STREAM.{verb}.{stream}" for stream in site.streams for verb in verbs),
        # A last tick's stream holds nothing that could not be had again: it is always made.
        *(f"$JS.API.STREAM.CREATE.{site.streams.ticks}" for _ in range(site.provision == "verify")),
        *(f"$JS.API.{verb}.{site.streams.jobs}.>" for verb in consumers),
        f"$JS.ACK.{site.streams.jobs}.>",
        f"$JS.API.STREAM.MSG.GET.{site.streams.journal}",
        f"$JS.API.STREAM.MSG.DELETE.{site.streams.journal}",
        # What was sent and not finished is read by a consumer that vanishes by itself.
        f"$JS.API.CONSUMER.CREATE.{site.streams.journal}",
        f"$JS.API.CONSUMER.CREATE.{site.streams.journal}.>",
        f"$JS.API.CONSUMER.INFO.{site.streams.journal}.*",
        f"$JS.API.CONSUMER.MSG.NEXT.{site.streams.journal}.*",
    )
    subscribe = (
        names.query("*"),
        names.trade("*", "*"),
        names.command("*", "*"),
        names.control("*"),
        *DISCOVERY,
        inbox,
    )
    return Rights(publish, subscribe, answers_for_s=int(site.longest_answer_s))


def password_variable(client: str) -> str:
    """Name the environment variable from which the server takes a user's password."""
    return f"MT4_{client.upper().replace('-', '_')}_PASSWORD"


def user_entry(role: Role, client: str, granted: Rights) -> str:
    """Write one user as NATS server configuration; the password comes from the environment."""
    lines = [
        f"# {role}: {MEANS[role]}. Its inbox: nats.inbox_prefix = {json.dumps(inbox_of(client))}",
        f"{{ user: {json.dumps(client)}, password: ${password_variable(client)}, permissions: {{",
        f"    publish: {_allowed(granted.publish, granted.deny)}",
        f"    subscribe: {_allowed(granted.subscribe)}",
    ]
    if granted.answers_for_s is not None:
        lines.append(f'    allow_responses: {{ max: 1, expires: "{granted.answers_for_s}s" }}')
    return "\n".join([*lines, "} }"])


def configuration(entries: Sequence[str]) -> str:
    """Write the server's block `authorization` around users."""
    users = "\n".join("    " + line for entry in entries for line in entry.splitlines())
    return f"authorization {{\n  users = [\n{users}\n  ]\n}}"


def accounts(site: Site, users: Sequence[tuple[Role, str, Rights]]) -> str:
    """Write the server's block `accounts`: the gateway's, and one for each of the users.

    A reply subject means something only in the account of who named it. So whatever JetStream is
    made to answer, it is not into the journal; and nobody hears what is not meant for them.
    """
    home = f"{site.names.base.replace('.', '_')}_gateway".upper()
    importers: dict[tuple[str, str], list[str]] = {}
    blocks = []
    for role, name, granted in users:
        crossing = _crossing(granted)
        for one in crossing:
            importers.setdefault(one, []).append(_account_of(name))
        imports = [
            f'{{ {kind}: {{ account: {home}, subject: "{subject}" }} }}'
            for kind, subject in crossing
        ]
        entry = user_entry(role, name, granted)
        blocks.append(_account(_account_of(name), entry, f"imports: {_lines(imports)}"))
    exports = [_export(*one, by, site) for one, by in importers.items()]
    gateway = user_entry(Role.GATEWAY, "gateway", rights(Role.GATEWAY, site, "gateway"))
    more = f"jetstream: enabled\n    exports: {_lines(exports)}"
    return "\n".join(["accounts {", _account(home, gateway, more), *blocks, "}"])


def _account_of(client: str) -> str:
    return f"MT4_{client.upper().replace('-', '_')}"


def _crossing(granted: Rights) -> list[tuple[str, str]]:
    """Name what goes from one account to another; discovery and inboxes stay at home."""
    asks = [("service", subject) for subject in granted.publish if not subject.startswith("$SRV.")]
    hears = [
        ("stream", subject) for subject in granted.subscribe if not subject.startswith("_INBOX")
    ]
    return asks + hears


def _export(kind: str, subject: str, importers: Sequence[str], site: Site) -> str:
    wait = f', response_threshold: "{int(site.longest_answer_s)}s"' if kind == "service" else ""
    return f'{{ {kind}: "{subject}", accounts: [{", ".join(importers)}]{wait} }}'


def _account(name: str, entry: str, more: str) -> str:
    return f"  {name} {{\n    users: {_lines([entry])}\n    {more}\n  }}"


def _lines(entries: Sequence[str]) -> str:
    inner = "".join(f"\n      {line}" for entry in entries for line in entry.splitlines())
    return f"[{inner}\n    ]"


def _list(subjects: Sequence[str]) -> str:
    inner = "".join(f"\n        {json.dumps(subject)}" for subject in subjects)
    return f"[{inner}\n    ]"


def _allowed(subjects: Sequence[str], but: Sequence[str] = ()) -> str:
    if not subjects:
        return '{ deny: ">" }'  # to the server an empty list of what is allowed means everything
    denied = f", deny: {_list(but)}" if but else ""
    return f"{{ allow: {_list(subjects)}{denied} }}"
