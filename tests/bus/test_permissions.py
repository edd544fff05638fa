"""What `mt4-gateway acl` prints, in force on a real server: each role tries what it must not do.

Each line of the table is tried by a user of that role alone on the bus, so that nothing but the
server can refuse it. What the roles do with a gateway is in tests/stack/test_roles.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from gateway import acl
from gateway.acl import Role
from gateway.cli import main
from gateway.config import Config
from gateway.nats_connection import denial_in
from gateway.subjects import Subjects
from tests.support.guarded import PASSWORD, User, guarded_by
from tests.support.nats_server import NatsServer

SITE = acl.Site(Subjects("mt4", "demo"))
SYMBOLS = ("EURUSD", "EURUSD.m")

USERS = [
    User(Role.VIEWER, "viewer"),
    User(Role.TICKS, "ticks", SYMBOLS),
    User(Role.STRATEGY, "mybot"),
    User(Role.STRATEGY, "durable", jetstream=True),
    User(Role.RISK, "risk"),
    User(Role.OPERATOR, "operator"),
    User(Role.OPERATOR, "auditor", jetstream=True),
    User(Role.GATEWAY, "gateway"),
]
PEOPLE = [user.name for user in USERS if user.role is not Role.GATEWAY]
WITHOUT_JETSTREAM = [user.name for user in USERS if not user.jetstream][:-1]

MAY_PUBLISH = {
    "viewer": ["query.GET_ORDERS", "command.mybot.x", "control.status", "$SRV.PING.mt4-gateway"],
    "mybot": [
        "query.GET_ORDERS",
        "query.SUBSCRIBE_TICKS",
        "trade.mybot.DO_ORDER_SEND",
        "command.mybot.x",
        "control.status",
    ],
    "durable": [
        "trade.durable.DO_ORDER_SEND",
        "job.durable.DO_ORDER_SEND",
        "$JS.API.DIRECT.GET.mt4_demo_ticks.mt4.demo.tick.EURUSD",
    ],
    "risk": [
        "query.GET_ORDERS",
        "trade.risk.DO_ORDER_CLOSE",
        "trade.risk.DO_ORDER_DELETE",
        "trade.risk.DO_CLOSE_ALL",
        "control.halt",
        "command.mybot.x",
    ],
    "operator": ["control.halt", "control.resume", "control.stepdown", "control.status"],
    "auditor": [
        "$JS.API.INFO",
        "$JS.API.STREAM.INFO.mt4j_demo",
        "$JS.API.STREAM.MSG.GET.mt4j_demo",
        "$JS.API.CONSUMER.INFO.mt4_demo_jobs.other",
    ],
    "gateway": ["tick.EURUSD", "event.order", "dead.mybot.DO_ORDER_SEND", "mt4j.demo.term"],
}

NOBODY_PUBLISHES = [
    "result.mybot.x",
    "result.risk.x",
    "tick.EURUSD",
    "event.order",
    "dead.mybot.DO_ORDER_SEND",
    "trade.other.DO_ORDER_SEND",
    "job.other.DO_ORDER_SEND",
    "mt4j.demo.halt",
    "mt4j.demo.term",
    "mt4j.demo.lease",
    "mt4j.demo.result.mybot.x",
    "mt4j.demo.sent.mybot.x",
    "mt4.another.trade.mybot.DO_ORDER_SEND",
    "mt4.another.control.halt",
    "_INBOX_gateway.x",
    "_INBOX_other.x",
    "_INBOX.x",
    "$JS.API.STREAM.CREATE.mine",
    "$JS.API.STREAM.DELETE.mt4j_demo",
    "$JS.API.STREAM.PURGE.mt4_demo_jobs",
    "$JS.API.STREAM.UPDATE.mt4j_demo",
    "$JS.API.STREAM.MSG.DELETE.mt4j_demo",
    "$JS.API.CONSUMER.CREATE.mt4_demo_jobs.mine",
    "$JS.API.CONSUMER.CREATE.mt4j_demo.mine",
    "$JS.API.CONSUMER.DELETE.mt4_demo_jobs.other",
    "$JS.API.CONSUMER.PAUSE.mt4_demo_jobs.other",
    "$JS.API.CONSUMER.MSG.NEXT.mt4_demo_jobs.other",
    "$JS.ACK.mt4_demo_jobs.other.1.1.1.1.1",
]
"""By any role but the gateway's."""

MUST_NOT_PUBLISH = {
    "viewer": [
        "trade.viewer.DO_ORDER_SEND",
        "query.SUBSCRIBE_TICKS",
        "query.UNSUBSCRIBE_TICKS",
        "control.halt",
    ],
    "ticks": ["query.GET_ORDERS", "trade.ticks.DO_ORDER_SEND", "control.status", "control.halt"],
    "mybot": ["command.risk.x", "control.halt", "control.resume", "control.stepdown"],
    "durable": ["control.halt", "job.mybot.DO_ORDER_SEND"],
    "risk": [
        "trade.risk.DO_ORDER_SEND",
        "trade.risk.DO_ORDER_MODIFY",
        "control.resume",
        "control.stepdown",
    ],
    "operator": ["trade.operator.DO_ORDER_SEND", "trade.operator.DO_ORDER_CLOSE"],
    "auditor": ["trade.auditor.DO_ORDER_SEND"],
    "gateway": [
        "trade.gateway.DO_ORDER_SEND",
        "job.mybot.DO_ORDER_SEND",
        "control.resume",
        "_INBOX_mybot.x",
        "$JS.API.STREAM.DELETE.mt4j_demo",
        "$JS.API.STREAM.PURGE.mt4j_demo",
        "$JS.API.STREAM.CREATE.other",
        "mt4j.another.term",
        "mt4.another.tick.EURUSD",
    ],
}

MAY_SUBSCRIBE = {
    "viewer": ["tick.*", "event.*", "result.*.*", "_INBOX_viewer.>"],
    "ticks": ["tick.EURUSD", "tick.EURUSD=2Em", "_INBOX_ticks.>"],
    "mybot": ["tick.*", "event.*", "result.mybot.*", "_INBOX_mybot.>"],
    "durable": ["result.durable.*"],
    "risk": ["result.*.*", "event.*", "tick.*"],
    "operator": ["result.*.*", "event.*"],
    "gateway": ["query.*", "trade.*.*", "command.*.*", "control.halt", "_INBOX_gateway.>"],
}

NOBODY_SUBSCRIBES = [
    ">",
    "mt4.>",
    "mt4.*.*.*.*",
    "mt4j.>",
    "mt4j.demo.>",
    "trade.*.*",
    "job.*.*",
    "control.halt",
    "command.*.*",
    "query.*",
    "_INBOX.>",
    "_INBOX_gateway.>",
    "_INBOX_other.>",
    "$JS.>",
    "$JS.EVENT.>",
    "$SYS.>",
    "mt4.another.tick.*",
]

MUST_NOT_SUBSCRIBE = {
    "ticks": ["tick.*", "tick.GBPUSD", "event.*", "result.*.*"],
    "mybot": ["result.*.*", "result.risk.*"],
    "durable": ["result.mybot.*"],
    "gateway": [">", "mt4j.>", "mt4j.demo.>", "_INBOX.>", "_INBOX_mybot.>", "result.*.*", "$JS.>"],
}


def whole(subject: str) -> str:
    """Write a subject in full; most are the terminal's."""
    roots = ("$", "_", "mt4", ">")
    return subject if subject.startswith(roots) else f"mt4.demo.{subject}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """Run a server with one user of each role, and nobody else on it."""
    with guarded_by(tmp_path_factory.mktemp("acl"), SITE, USERS) as server:
        yield server


@asynccontextmanager
async def user(server: NatsServer, name: str) -> AsyncIterator[tuple[Client, list[str]]]:
    """Log in; what the server denies is collected, as `publish mt4.demo.x`."""
    denied: list[str] = []

    async def note(exc: Exception) -> None:
        denial = denial_in(exc)
        denied.append(f"{denial.what} {denial.subject}" if denial else repr(exc))

    client = await nats.connect(
        server.url, user=name, password=PASSWORD, error_cb=note, inbox_prefix=f"_INBOX_{name}"
    )
    try:
        yield client, denied
    finally:
        await client.close()


async def refused(server: NatsServer, name: str, what: str, subjects: list[str]) -> list[str]:
    """Try each subject and return those that the server refuses."""
    async with user(server, name) as (client, denied):
        refusals = []
        for subject in map(whole, subjects):
            denied.clear()
            if what == "publish":
                await client.publish(subject, b"{}")
            else:
                await client.subscribe(subject)
            await asyncio.sleep(0)
            await client.flush()  # a denial comes before the answer to it
            if denied:
                assert [f"{what} {subject.lower()}"] == denied
                refusals.append(subject)
        return refusals


@pytest.mark.parametrize("name", MAY_PUBLISH)
async def test_role_may_publish(server: NatsServer, name: str) -> None:
    """A role can do its work."""
    assert [] == await refused(server, name, "publish", MAY_PUBLISH[name])


@pytest.mark.parametrize("name", MAY_SUBSCRIBE)
async def test_role_may_subscribe(server: NatsServer, name: str) -> None:
    """A role can hear what is meant for it."""
    assert [] == await refused(server, name, "subscription", MAY_SUBSCRIBE[name])


@pytest.mark.parametrize("name", [user.name for user in USERS])
async def test_role_must_not_publish(server: NatsServer, name: str) -> None:
    """Forged results, others' names, control, the journal, the streams: all refused."""
    everybody = NOBODY_PUBLISHES if name in PEOPLE else []
    wanted = [*everybody, *MUST_NOT_PUBLISH[name]]

    assert list(map(whole, wanted)) == await refused(server, name, "publish", wanted)


@pytest.mark.parametrize("name", [user.name for user in USERS])
async def test_role_must_not_subscribe(server: NatsServer, name: str) -> None:
    """Others' inboxes and results, and what goes in or is stored: all refused."""
    everybody = NOBODY_SUBSCRIBES if name in PEOPLE else []
    wanted = [*everybody, *MUST_NOT_SUBSCRIBE.get(name, [])]

    assert list(map(whole, wanted)) == await refused(server, name, "subscription", wanted)


@pytest.mark.parametrize("name", WITHOUT_JETSTREAM)
async def test_role_does_not_reach_jetstream(server: NatsServer, name: str) -> None:
    """Neither jobs nor last ticks, unless asked for: see the test below for the reason."""
    wanted = [
        f"job.{name}.DO_ORDER_SEND",
        f"job.{name}.DO_ORDER_CLOSE",
        "$JS.API.INFO",
        "$JS.API.STREAM.INFO.mt4j_demo",
        "$JS.API.DIRECT.GET.mt4_demo_ticks.mt4.demo.tick.EURUSD",
    ]

    assert list(map(whole, wanted)) == await refused(server, name, "publish", wanted)


async def test_jetstream_answers_into_the_journal(server: NatsServer) -> None:
    """Why `--jetstream` is not the default: its answer goes to any reply subject and is stored.

    If a newer server refuses this, the right to publish jobs may go back to every strategy.
    """
    async with user(server, "gateway") as (gateway, _), user(server, "durable") as (bot, denied):
        js = gateway.jetstream()
        streams = (("mt4j_demo", "mt4j.demo.>"), ("mt4_demo_jobs", "mt4.demo.job.*.*"))
        for name, subject in streams:
            await js.add_stream(StreamConfig(name=name, subjects=[subject]))
        await js.publish("mt4j.demo.halt", b"as the gateway wrote it")
        stored = "mt4j.demo.halt"

        async def overwritten() -> bool:
            await bot.publish("mt4.demo.job.durable.DO_ORDER_SEND", b"{}", reply=stored)
            await bot.flush()
            return b"seq" in ((await js.get_last_msg("mt4j_demo", stored)).data or b"")

        async with asyncio.timeout(5):
            while not await overwritten():
                pass

        assert [] == denied


def test_gateway_that_makes_no_streams_has_no_right_to() -> None:
    """With `journal.provision = "verify"` operators make them, and rights follow."""
    config = Config.model_validate({"journal": {"provision": "verify"}})
    granted = acl.rights(Role.GATEWAY, acl.Site.of(config), "gateway").publish
    making = [subject for subject in granted if ".CREATE." in subject or ".UPDATE." in subject]

    assert {"mt4j_demo", "mt4_demo_ticks"} == {subject.split(".")[4] for subject in making}
    assert not [subject for subject in making if ".UPDATE." in subject]


def test_rights_follow_prefix_and_terminal() -> None:
    """A fleet is many gateways on one NATS; none reaches into another's subjects."""
    config = Config.model_validate({"bus": {"prefix": "fx.live"}, "terminal": {"name": "ic-1"}})
    site = acl.Site.of(config)
    granted = [acl.rights(role, site, "me") for role in Role]
    subjects: list[str] = [s for one in granted for s in (*one.publish, *one.subscribe)]
    ours = ("fx.live.ic-1.", "fx.livej.ic-1.", "$SRV.", "_INBOX_me.")

    assert [] == [
        subject
        for subject in subjects
        if not subject.startswith(ours) and "fx_live" not in subject and subject != "$JS.API.INFO"
    ]


PRINTED: dict[str, tuple[list[str], str]] = {
    "all": (
        [],
        acl.configuration([acl.user_entry(r, r, acl.rights(r, SITE, r)) for r in Role]),
    ),
    "one": (
        ["--role", "ticks", "--client", "mybot", "--symbols", "EURUSD"],
        acl.user_entry(Role.TICKS, "mybot", acl.rights(Role.TICKS, SITE, "mybot", ["EURUSD"])),
    ),
    "accounts": (
        ["--accounts", "risk:guard"],
        acl.accounts(
            SITE, [(Role.RISK, "guard", acl.rights(Role.RISK, SITE, "guard", jetstream=True))]
        ),
    ),
}


@pytest.mark.parametrize("kind", PRINTED)
def test_command_line_prints_what_is_tried_here(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing else, so that its output is a file for the server."""
    arguments, expected = PRINTED[kind]

    assert 0 == main(["acl", *arguments])
    assert f"{expected}\n" == capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--client", "mybot"],
        ["--role", "strategy", "--client", "My Bot"],
        ["--accounts", "mybot"],
        ["--accounts", "gateway:mybot"],
        ["--accounts", "strategy:My Bot"],
    ],
)
def test_command_line_refuses_what_makes_no_sense(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is no client's would be a right that nobody can use."""
    assert 2 == main(["acl", *arguments])
    assert "" == capsys.readouterr().out
