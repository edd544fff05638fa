"""The whole service on a server with the permissions of `mt4-gateway acl`: each role at its work.

What the server refuses to whom is in tests/bus/test_permissions.py; here, what a client is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from gateway import acl
from gateway.acl import Role
from gateway.cli import main
from gateway.client import CommandResult, Mt4Client, NotConnected, NotPermitted, Outcome
from gateway.client.denials import Denials
from gateway.subjects import Subjects
from tests.support.guarded import PASSWORD, User, guarded_by, guarded_by_accounts
from tests.support.nats_server import NatsServer
from tests.support.stack import Stack, eventually

SOON_S = 1.0
USERS = [
    User(Role.GATEWAY, "gateway"),
    User(Role.STRATEGY, "tester", jetstream=True),
    User(Role.STRATEGY, "plain"),
    User(Role.VIEWER, "viewer"),
    User(Role.TICKS, "ticks", ("EURUSD",)),
    User(Role.RISK, "risk"),
    User(Role.OPERATOR, "operator"),
]


def login(name: str) -> dict[str, Any]:
    """Say who a client is."""
    inbox = acl.inbox_of(name)
    return {"client": name, "user": name, "password": PASSWORD, "inbox_prefix": inbox}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """Run a server with one user of each role."""
    site = acl.Site(Subjects("mt4", "demo"))
    with guarded_by(tmp_path_factory.mktemp("roles"), site, USERS) as server:
        yield server


def stack_on(server: NatsServer) -> Stack:
    """Make a gateway that has the gateway's rights and no others."""
    who = {key: value for key, value in login("gateway").items() if key != "client"}
    return Stack(server.url, client_options=login("tester"), nats=who)


@pytest.fixture
async def stack(server: NatsServer) -> AsyncIterator[Stack]:
    """Run it for one test; whatever it does, no right may be missing."""
    async with stack_on(server) as stack:
        yield stack

        assert stack.app.bus.last_error is None


async def as_user(server: NatsServer, name: str) -> Mt4Client:
    """Connect as a user."""
    return await Mt4Client.connect(server.url, **login(name))


async def test_every_role_does_its_work(server: NatsServer, stack: Stack) -> None:
    """Trade, job, question, prices; reading; closing and halting; resuming."""
    bought = await stack.buy(id_="first")
    queued = await stack.client.job(
        "DO_ORDER_SEND", {"symbol": "EURUSD", "order_type": "SELL", "lots": 0.1}, id_="second"
    )
    asked = await stack.client.outcome_of("first")
    async with (
        await as_user(server, "viewer") as viewer,
        await as_user(server, "risk") as risk,
        await as_user(server, "operator") as operator,
    ):
        seen = await viewer.orders()
        status = await viewer.status()
        closed = await risk.order_close(bought.response["ticket"])
        halted = await risk.control("halt", reason="enough")
        refused = await stack.buy()
        resumed = await operator.control("resume")

        assert bought.succeeded
        assert queued.succeeded
        assert isinstance(asked, CommandResult)
        assert 2 == len(seen)
        assert "active" == status["role"]
        assert closed.succeeded
        assert "enough" == halted["halted"]
        assert (Outcome.DENIED, 423) == (refused.outcome, (refused.error or {})["code"])
        assert resumed["halted"] is False


async def test_prices_and_results_are_followed_under_permissions(
    server: NatsServer, stack: Stack
) -> None:
    """One symbol for who may see one; one's own results for a strategy, all for a viewer."""
    async with await as_user(server, "ticks") as ticks, await as_user(server, "viewer") as viewer:
        heard: dict[str, Any] = {}

        async def first(name: str, stream: AsyncIterator[Any]) -> None:
            async for item in stream:
                heard[name] = item
                return

        stack.background(first("tick", ticks.ticks("EURUSD")))
        stack.background(first("own", stack.client.results()))
        stack.background(first("all", viewer.results("*")))
        async with asyncio.timeout(5):
            bid = 1.1
            while len(heard) < 3:
                bid += 0.0001
                await stack.terminal.quote("EURUSD", bid, bid + 0.0001)
                await stack.buy(0.01)

        assert "EURUSD" == heard["tick"].symbol
        assert "tester" == heard["own"].client == heard["all"].client


async def test_next_gateway_takes_over_with_the_same_rights(server: NatsServer) -> None:
    """It reads the journal, resets the jobs, claims the terminal."""
    async with stack_on(server) as first:
        await first.buy(id_="kept")
    async with stack_on(server) as second:
        known = await second.client.outcome_of("kept")
        again = await second.buy(id_="kept")

        assert isinstance(known, CommandResult)
        assert known.response == again.response
        assert not second.terminal.broker.orders  # of a terminal that is another: nothing ran
        assert second.app.bus.last_error is None


FORBIDDEN: dict[str, tuple[str, Callable[[Mt4Client], Awaitable[object]]]] = {
    "a viewer trades": ("viewer", lambda mt4: mt4.order_send("EURUSD", "BUY", 0.1)),
    "a viewer closes": ("viewer", lambda mt4: mt4.order_close(1)),
    "a viewer halts": ("viewer", lambda mt4: mt4.control("halt")),
    "a strategy queues jobs": ("plain", lambda mt4: mt4.submit("DO_ORDER_CLOSE", {"ticket": 1})),
    "a strategy resumes": ("plain", lambda mt4: mt4.control("resume")),
    "a risk bot opens": ("risk", lambda mt4: mt4.order_send("EURUSD", "BUY", 0.1)),
    "a reader of prices reads orders": ("ticks", lambda mt4: mt4.orders()),
    "a reader of one symbol follows all": ("ticks", lambda mt4: anext(mt4.ticks())),
    "a reader of prices follows results": ("ticks", lambda mt4: anext(mt4.results("*"))),
    "a strategy follows others' results": ("plain", lambda mt4: anext(mt4.results("risk"))),
}


async def test_what_is_forbidden_is_told_at_once(server: NatsServer, stack: Stack) -> None:
    """NATS answers nothing; the client says which right is missing instead of a timeout."""
    for name, call in FORBIDDEN.values():
        async with await as_user(server, name) as client, asyncio.timeout(SOON_S):
            with pytest.raises(NotPermitted, match=r"mt4\.demo\.\S+.*mt4-gateway acl"):
                await call(client)

    assert [] == stack.terminal.truth.of("executed")


async def test_another_name_is_not_permitted(server: NatsServer, stack: Stack) -> None:
    """The name is a part of the subject, so nobody trades under somebody else's."""
    async with await Mt4Client.connect(
        server.url, **(login("plain") | {"client": "tester"})
    ) as thief:
        with pytest.raises(NotPermitted, match=r"trade\.tester"):
            await thief.order_send("EURUSD", "BUY", 0.1)

        assert [] == stack.terminal.truth.of("executed")


async def test_one_denial_among_two_requests_is_blamed_on_neither() -> None:
    """Which of two on one subject was refused cannot be told: neither is called unsent."""
    denials = Denials()
    denial = NatsError('nats: permissions violation for publish to "a.b"')

    async def ask() -> str:
        async with denials.watching("A.b"):
            denials.note(denial)
            await asyncio.sleep(0)
        return "went on"

    async with denials.watching("A.b"):
        of_two = await ask()
    with pytest.raises(NotPermitted):
        await ask()

    assert "went on" == of_two


async def test_client_without_its_inbox_is_told_before_it_trades(server: NatsServer) -> None:
    """Else its trades would run, and it would hear nothing."""
    with pytest.raises(NotPermitted, match="inbox_prefix"):
        await Mt4Client.connect(server.url, client="plain", user="plain", password=PASSWORD)


async def test_refused_login_is_told(server: NatsServer) -> None:
    """With who was asked; never with the password."""
    with pytest.raises(NotConnected, match="refuses the login") as told:
        await Mt4Client.connect(server.url, user="plain", password="guessed", connect_timeout_s=0.5)

    assert "guessed" not in str(told.value)


async def test_service_answers_no_forged_reply_subject(server: NatsServer, stack: Stack) -> None:
    """The framework would answer anywhere, with the gateway's rights: into the journal as well."""
    heard: list[str] = []

    async def note(msg: Msg) -> None:
        heard.append(msg.subject)

    async with await as_user(server, "viewer") as viewer:
        await viewer.connection.subscribe("mt4.demo.result.*.*", cb=note)
        for asked in ("$SRV.PING", "$SRV.INFO.mt4-gateway", "mt4.demo.control.status"):
            for forged in ("mt4j.demo.sent.tester.x", "mt4.demo.result.tester.x"):
                await viewer.connection.publish(asked, b"", reply=forged)
        await viewer.status()  # it was taken behind them
        with pytest.raises(NotFoundError):
            await stack.app.bus.client.jetstream().get_last_msg(
                "mt4j_demo", "mt4j.demo.sent.tester.x"
            )

        assert [] == heard


async def test_command_line_says_what_is_not_permitted(
    server: NatsServer,
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 3 at once, and the subject; with the right login it works."""
    for key in ("user", "password", "inbox_prefix"):
        monkeypatch.setenv(f"MT4GW_NATS__{key.upper()}", login("viewer")[key])
    where = ["--nats", server.url, "--client", "viewer"]
    buy = ["send", "DO_ORDER_SEND", "symbol=EURUSD", "order_type=BUY", "lots=0.1"]
    async with asyncio.timeout(5):
        denied = await asyncio.to_thread(main, [*buy, *where])
        read = await asyncio.to_thread(main, ["send", "GET_ORDERS", *where])
    said = capsys.readouterr()

    assert (3, 0) == (denied, read)
    assert "does not permit this user to publish on mt4.demo.trade.viewer.DO_ORDER_SEND" in said.err
    await eventually(lambda: not stack.terminal.truth.of("executed"))


# ---- an account for each ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server_of_accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """Run a server on which nobody shares an account."""
    users = [
        User(Role.STRATEGY, "tester", jetstream=True),
        User(Role.VIEWER, "viewer", jetstream=True),
        User(Role.OPERATOR, "operator", jetstream=True),
    ]
    site = acl.Site(Subjects("mt4", "demo"))
    with guarded_by_accounts(tmp_path_factory.mktemp("accounts"), site, users) as server:
        yield server


async def test_roles_work_from_accounts_of_their_own(server_of_accounts: NatsServer) -> None:
    """Trades, jobs, questions, prices, results and control cross from one account to the other."""
    async with (
        stack_on(server_of_accounts) as stack,
        await as_user(server_of_accounts, "viewer") as viewer,
        await as_user(server_of_accounts, "operator") as operator,
    ):
        heard: list[CommandResult] = []

        async def follow() -> None:
            async for result in viewer.results("*"):
                heard.append(result)

        stack.background(follow())
        bought = await stack.buy(id_="first")
        order = {"symbol": "EURUSD", "order_type": "SELL", "lots": 0.1}
        queued = await stack.client.job("DO_ORDER_SEND", order, id_="second")
        asked = await stack.client.outcome_of("first")
        quoting = asyncio.create_task(anext(stack.client.ticks("EURUSD")))
        bid = 1.1
        while not quoting.done():
            bid += 0.0001
            await stack.terminal.quote("EURUSD", bid, bid + 0.0001)
            await asyncio.sleep(0.005)
        last = "$JS.API.DIRECT.GET.mt4_demo_ticks.mt4.demo.tick.EURUSD"
        kept = await viewer.connection.request(last, b"", timeout=2)
        halted = await operator.control("halt", reason="enough")
        refused = await stack.buy()
        await operator.control("resume")
        await eventually(lambda: {"first", "second"} <= {result.id for result in heard})

        assert bought.succeeded
        assert queued.succeeded
        assert isinstance(asked, CommandResult)
        assert kept.data
        assert "enough" == halted["halted"]
        assert 423 == (refused.error or {})["code"]
        assert stack.app.bus.last_error is None


async def test_no_answer_goes_into_the_journal_from_another_account(
    server_of_accounts: NatsServer,
) -> None:
    """A forged reply subject is one of the client's own account, where no journal is."""
    questions = (
        "mt4.demo.job.tester.DO_ORDER_SEND",
        "$JS.API.DIRECT.GET.mt4_demo_ticks.mt4.demo.tick.EURUSD",
        "mt4.demo.trade.tester.DO_ORDER_SEND",
        "mt4.demo.control.status",
    )
    async with stack_on(server_of_accounts) as stack:
        await stack.terminal.quote("EURUSD", 1.2, 1.3)
        await stack.buy()
        connection = stack.client.connection
        for asked in questions:
            await connection.publish(asked, b"{}", reply="mt4j.demo.sent.tester.forged")
            await connection.publish(asked, b"{}", reply="mt4.demo.result.viewer.forged")
        await stack.client.status()  # it was taken behind them
        stored = await stack.app.journal._records.subjects("mt4j.demo.>")

        assert stored
        assert not [subject for subject in stored if "forged" in subject]
