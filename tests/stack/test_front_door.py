"""Clients that know only the existing server's protocol, unchanged, at the gateway's front door."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio

from gateway import existing_server, front_door, keys
from gateway.config import load
from gateway.core.messages import Cause, CommandId, Conclusion, Outcome, Result, Source
from gateway.errors import ConfigError
from gateway.explain import Archive
from tests.support.nats_server import NatsServer
from tests.support.net import free_port
from tests.support.stack import EXISTING_SERVER, QUIET, Stack, eventually

PATIENCE_S = 10.0
OTHERS = 20
FUZZED = 300
BUY = {
    "action": "DO_ORDER_SEND",
    "symbol": "EURUSD",
    "order_type": 0,
    "lots": 0.1,
    "comment": "mine",
}
UNSET = dict.fromkeys(["price", "slippage", "sl", "sl_points", "tp", "tp_points"])
"""What a client of that server sends for what it does not want."""


class Client:
    """One REQ socket, as those clients have it: a JSON object out, a JSON object in."""

    def __init__(
        self,
        context: zmq.asyncio.Context,
        endpoint: str,
        identity: tuple[bytes, bytes, bytes] | None = None,
    ) -> None:
        self._socket = context.socket(zmq.REQ)
        self._socket.linger = 0
        if identity is not None:
            public, secret, server = identity
            self._socket.curve_publickey, self._socket.curve_secretkey = public, secret
            self._socket.curve_serverkey = server
        self._socket.connect(endpoint)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)

    async def ask_raw(self, *frames: bytes) -> bytes:
        """Send one message and return the one reply."""
        async with asyncio.timeout(PATIENCE_S):
            await self._socket.send_multipart(frames)
            return await self._socket.recv()

    async def ask(self, action: str, **params: Any) -> dict[str, Any]:
        """Ask as its library does."""
        body = await self.ask_raw(json.dumps({"action": action, **params}).encode())
        said: dict[str, Any] = json.loads(body)
        return said

    async def buy(self, lots: float = 0.1, **params: Any) -> dict[str, Any]:
        """Buy as its library does: every key is there."""
        said: dict[str, Any] = json.loads(
            await self.ask_raw(json.dumps(BUY | UNSET | {"lots": lots} | params).encode())
        )
        return said


class Door:
    """A gateway's door and those who come to it."""

    def __init__(self) -> None:
        self.endpoint = f"tcp://127.0.0.1:{free_port()}"
        self._context = zmq.asyncio.Context()
        self._clients: list[Client] = []

    @property
    def section(self) -> dict[str, Any]:
        """Return the section of the configuration."""
        return {"endpoint": self.endpoint, "client": "old", "timeout_s": 5.0}

    def client(
        self, endpoint: str | None = None, identity: tuple[bytes, bytes, bytes] | None = None
    ) -> Client:
        """Connect one more client: to the door, or past it; `identity` is its keys."""
        self._clients.append(Client(self._context, endpoint or self.endpoint, identity))
        return self._clients[-1]

    def close(self) -> None:
        """Close all."""
        for client in self._clients:
            client.close()
        self._context.term()


@pytest.fixture
async def door(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    """Give a door that takes trades at once."""
    monkeypatch.setattr(front_door, "AFTER_OPENING_S", 0.0)
    door = Door()
    yield door
    door.close()


@pytest.fixture(params=["existing server", "bridge"])
async def stack(
    nats_server: NatsServer, door: Door, request: pytest.FixtureRequest
) -> AsyncIterator[Stack]:
    """Run a gateway with a door, before a terminal of each dialect."""
    sim = EXISTING_SERVER if request.param == "existing server" else QUIET
    async with Stack(nats_server.url, sim, front_door=door.section) as stack:
        yield stack


READS: list[dict[str, Any]] = [
    {"action": "GET_ACCOUNT_INFO"},
    {"action": "GET_ACCOUNT_INFO_INTEGER", "property_id": 35},
    {"action": "GET_ACCOUNT_INFO_DOUBLE", "property_name": "ACCOUNT_BALANCE"},
    {"action": "GET_SYMBOLS"},
    {"action": "GET_SYMBOL_INFO", "names": ["EURUSD", "USDJPY"]},
    {
        "action": "GET_SYMBOL_INFO_STRING",
        "symbol": "EURUSD",
        "property_name": "SYMBOL_CURRENCY_BASE",
    },
    {"action": "GET_SYMBOL_MARKET_INFO", "symbol": "EURUSD", "property": "MODE_SPREAD"},
    {"action": "GET_SYMBOL_TICK", "symbol": "EURUSD"},
    {"action": "GET_OHLCV", "symbol": "EURUSD", "timeframe": 15, "limit": 3, "timeout": 1000},
    {"action": "GET_ORDERS"},
    {"action": "GET_HISTORICAL_ORDERS"},
    {"action": "GET_SIGNALS"},
    # and errors, in all three shapes
    {"action": "GET_ORDER", "ticket": 77},
    {"action": "GET_SYMBOL_TICK", "symbol": "NOPE"},
    {"action": "GET_SYMBOL_INFO_DOUBLE", "symbol": "NOPE", "property_name": "SYMBOL_POINT"},
    {"action": "HELLO"},
    {"action": None},
    {},
]


async def test_reads_are_answered_with_the_same_bytes(nats_server: NatsServer, door: Door) -> None:
    """One client at the server itself, one at the door: they cannot tell the difference."""
    async with Stack(nats_server.url, EXISTING_SERVER, front_door=door.section) as stack:
        past, through = door.client(stack.terminal.request_endpoint), door.client()
        bodies = [json.dumps(asked).encode() for asked in READS]
        expected = [await past.ask_raw(body) for body in bodies]

        assert expected == [await through.ask_raw(body) for body in bodies]


async def test_trades_are_answered_with_the_shape_of_that_server(stack: Stack, door: Door) -> None:
    """Open, look, change, close, place, delete: as its clients do, on either dialect."""
    client = door.client()
    opened = (await client.buy())["response"]
    [listed] = (await client.ask("GET_ORDERS"))["response"]
    changed = await client.ask("DO_ORDER_MODIFY", ticket=opened["ticket"], sl_points=300, tp=None)
    closed = await client.ask("DO_ORDER_CLOSE", ticket=opened["ticket"])
    placed = (await client.buy(order_type=2, price=1.0))["response"]
    deleted = await client.ask("DO_ORDER_DELETE", ticket=placed["ticket"], close_if_opened=False)

    keys_in_order = (
        "ticket magic_number symbol order_type lots open_price close_price open_time close_time "
        "expiration sl tp profit commission swap comment"
    )
    assert keys_in_order.split() == list(opened)
    assert "mine" == opened["comment"] == listed["comment"]  # without the gateway's token
    assert opened["ticket"] == listed["ticket"]
    assert changed["response"]["sl"] > 0
    assert {"response": f"Closed order # {opened['ticket']}"} == closed
    assert {"response": f"Deleted pending order # {placed['ticket']}."} == deleted
    assert {} == await client.ask("GET_ORDERS")
    assert stack.metric("commands_total", action="DO_ORDER_SEND", outcome="succeeded") == 2


async def test_refusals_of_the_broker_keep_their_shape(stack: Stack, door: Door) -> None:
    """Code, that server's name for it, and its sentence."""
    stack.terminal.faults.add_spec("refuse:DO_ORDER_SEND:134:#1")
    said = await door.client().ask_raw(json.dumps(BUY).encode())

    assert (
        b'{"error_code":134,"error_code_description":"not enough money",'
        b'"error_message":"Failed to send order."}'
    ) == said


async def test_client_works_with_twenty_others_and_survives_a_restart_of_the_terminal(
    stack: Stack, door: Door
) -> None:
    """Nobody gets somebody else's reply; the terminal is killed in the middle and comes back."""
    clients = [door.client() for _ in range(OTHERS + 1)]

    async def works(number: int, client: Client) -> None:
        mine = f"c{number}"
        for _ in range(2):
            order = (await client.buy(0.01, comment=mine))["response"]
            again = (await client.ask("GET_ORDER", ticket=order["ticket"]))["response"]
            assert mine == order["comment"] == again["comment"]
            closed = await client.ask("DO_ORDER_CLOSE", ticket=order["ticket"])
            assert {"response": f"Closed order # {order['ticket']}"} == closed

    await asyncio.gather(*(works(number, client) for number, client in enumerate(clients)))
    await stack.terminal.kill()
    asking = [asyncio.create_task(client.ask("GET_ACCOUNT_INFO")) for client in clients]
    await stack.terminal.start()
    answers = await asyncio.gather(*asking)
    await asyncio.gather(*(works(number, client) for number, client in enumerate(clients)))

    assert all("response" in answer for answer in answers)
    assert 4 * len(clients) == len(stack.terminal.truth.of("executed")) / 2


async def test_door_trades_under_policy(nats_server: NatsServer, door: Door) -> None:
    """As one client, by its name; what is not allowed is said in that server's words for errors."""
    policy = {"max_lots_per_order": 0.5, "symbols": ("EURUSD",), "clients": {"old": {}}}
    async with Stack(
        nats_server.url, EXISTING_SERVER, front_door=door.section, policy=policy
    ) as stack:
        client = door.client()
        small, large = await client.buy(0.1), await client.buy(0.6)
        other = await client.buy(symbol="USDJPY")
        [known] = {result.key.client for result in stack.app.commands.results.last} - {None}
        halted = await stack.client.control("halt", reason="enough")
        stopped = await client.buy(0.1)

        assert "response" in small
        assert ["error_message"] == list(large)
        assert "denied, nothing ran: lots 0.6 are too many for one order" in str(large)
        assert "error_message" in other
        assert "old" == known
        assert "enough" == halted["halted"]
        assert "trading is halted: enough" in stopped["error_message"]
        assert 1 == len(stack.terminal.truth.of("executed"))


async def test_trade_of_the_door_is_in_the_journal(stack: Stack, door: Door) -> None:
    """A client that can give an id may: the same again is the same trade, as on the bus."""
    first = await door.client().buy(id="once")
    again = await door.client().buy(id="once")
    told = await stack.client.connection.request("mt4.demo.command.old.once", b"", timeout=2)

    assert first == again
    assert first["response"]["ticket"] == json.loads(told.data)["result"]["response"]["ticket"]
    assert 1 == len(stack.terminal.truth.of("executed"))


GARBAGE = {
    "empty": ([b""], "Request was empty."),
    "no object": ([b"[1]"], "Failed to parse request."),
    "cut off": ([b'{"action":"DO_ORDER_SEND","symbol":"EURUSD","lots":0.1'], "Failed to parse"),
    "several frames": ([b"{}", b'{"action":"GET_ORDERS"}'], "2 came"),
    "a name for a number": (
        [json.dumps(BUY | {"order_type": True}).encode()],
        "nothing ran: order_type",
    ),
    "no lots": ([b'{"action":"DO_ORDER_SEND","symbol":"EURUSD","order_type":0}'], "lots: missing"),
    "half a letter": ([b'{"action":"\\ud800"}'], "Failed to parse request."),
    "unknown key": ([json.dumps(BUY | {"magic": 7}).encode()], "magic: unknown parameter"),
}


async def test_what_that_server_would_guess_is_refused(nats_server: NatsServer, door: Door) -> None:
    """One reply each, and nothing is executed; the client can go on."""
    async with Stack(nats_server.url, EXISTING_SERVER, front_door=door.section) as stack:
        client = door.client()
        for kind, (frames, words) in GARBAGE.items():
            said = json.loads(await client.ask_raw(*frames))
            assert ["error_message"] == list(said), kind
            assert words in said["error_message"], kind
        after = await client.ask("GET_ORDERS")

        assert {} == after
        assert [] == stack.terminal.truth.of("executed")


async def test_garbage_of_all_kinds_gets_one_reply_each(
    nats_server: NatsServer, door: Door
) -> None:
    """Nothing of it is executed, and the door stays open; the seed is fixed."""
    chance = random.Random(20260101)
    valid = [json.dumps(one).encode() for one in (*READS, BUY | UNSET)]
    odd: list[Any] = [
        None,
        True,
        -1,
        2**63,
        1e308,
        "",
        "x" * 99,
        [],
        [[]],
        {},
        {"a": {}},
        "NaN",
        "\ud800",
    ]

    def spoiled() -> bytes:
        match chance.randrange(3):
            case 0:
                return chance.randbytes(chance.randrange(60))
            case 1:
                body = bytearray(chance.choice(valid))
                for _ in range(chance.randrange(1, 4)):
                    body[chance.randrange(len(body))] = chance.randrange(256)
                return bytes(body)
        names = ("lots", "order_type", "timeout", "action", "names", "id", "deadline", "raw")
        return json.dumps(BUY | {chance.choice(names): chance.choice(odd)}).encode()

    policy: dict[str, Any] = {
        "clients": {"somebody-else": {}}
    }  # what is valid by chance is not traded either
    async with Stack(
        nats_server.url, EXISTING_SERVER, front_door=door.section, policy=policy
    ) as stack:
        client = door.client()
        for _ in range(FUZZED):
            said = json.loads(await client.ask_raw(spoiled()))
            assert said.keys() <= {"response", "warning", *existing_server.ERROR_KEYS}
        after = await client.ask("GET_ACCOUNT_INFO")

        assert "response" in after
        heard = {str(fact["action"]) for fact in stack.terminal.truth.of("received")}
        assert not [name for name in heard if name.startswith("DO_")]


async def test_client_is_told_when_a_result_takes_longer_than_it_waits(
    nats_server: NatsServer, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its patience ends: after a silence it could only guess, and would trade again."""
    monkeypatch.setattr(front_door, "PATIENCE_S", 0.1)
    section = door.section | {"timeout_s": 0.5}
    async with Stack(nats_server.url, EXISTING_SERVER, front_door=section) as stack:
        stack.terminal.faults.add_spec("slow:DO_ORDER_SEND:#1:1500ms")
        client = door.client()
        said = await client.buy()
        id_ = said["error_message"].rpartition("(id ")[2].rstrip(")")
        results = stack.app.commands.results.last
        await eventually(lambda: any(result.key.id == id_ for result in results))
        after = await client.ask("GET_ORDERS")

        assert "no result yet, it may run" in said["error_message"]
        assert 1 == len(after["response"])


async def test_request_that_waited_for_the_door_is_not_traded(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket kept the order while no gateway was there; how long, nobody can see."""
    monkeypatch.setattr(front_door, "AFTER_OPENING_S", 2.0)
    door = Door()
    client = door.client()
    asking = asyncio.create_task(client.buy())
    try:
        async with Stack(nats_server.url, EXISTING_SERVER, front_door=door.section) as stack:
            said = await asking
            read = await client.ask("GET_ORDERS")

            assert "this may have waited since before" in said["error_message"]
            assert {} == read
            assert [] == stack.terminal.truth.of("executed")
    finally:
        door.close()


async def test_door_opens_when_its_port_is_free(nats_server: NatsServer, door: Door) -> None:
    """What has it is told in the log; the rest of the gateway goes on."""
    context = zmq.Context()
    taken = context.socket(zmq.REP)
    taken.bind(door.endpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(front_door, "BIND_AGAIN_S", 0.02)
        async with Stack(nats_server.url, EXISTING_SERVER, front_door=door.section) as stack:
            served = await stack.buy()
            taken.close(linger=0)
            context.term()
            through = await door.client().ask("GET_ORDERS")

            assert served.succeeded
            assert 1 == len(through["response"])


async def test_door_knows_its_clients_by_their_keys(
    nats_server: NatsServer, door: Door, tmp_path: Path
) -> None:
    """A client with a key on the list is served, one without is not heard."""
    ours, theirs = keys.make(tmp_path, "door"), keys.make(tmp_path, "client")
    section = door.section | {
        "curve_secret_key": ours.secret_file,
        "curve_client_keys": theirs.public_file,
    }
    secret = theirs.secret_file.read_text("ascii").strip().encode()
    async with Stack(nats_server.url, EXISTING_SERVER, front_door=section):
        known = door.client(identity=(theirs.public.encode(), secret, ours.public.encode()))
        read = await known.ask("GET_ORDERS")
        stranger = door.client(identity=(*zmq.curve_keypair(), ours.public.encode()))
        asking = asyncio.create_task(stranger.ask("GET_ORDERS"))
        for _ in range(10):
            await known.ask("GET_ORDERS")

        assert {} == read
        assert not asking.done()
        asking.cancel()


async def test_each_trades_under_the_name_of_its_key(
    nats_server: NatsServer, door: Door, tmp_path: Path
) -> None:
    """What one may do, and who is told to have done it; a name that is none may do nothing."""
    ours = keys.make(tmp_path, "door")
    names = ("alpha", "beta", "spoiled")
    pairs = {name: keys.make(tmp_path, name) for name in names}
    listed = tmp_path / "clients"
    listed.write_text("".join(pairs[name].public_file.read_text("ascii") for name in names))
    section = door.section | {
        "curve_secret_key": ours.secret_file,
        "curve_client_keys": listed,
        "named_by_key": True,
    }

    def client(name: str) -> Client:
        secret = pairs[name].secret_file.read_text("ascii").strip().encode()
        return door.client(identity=(pairs[name].public.encode(), secret, ours.public.encode()))

    policy = {"clients": {"alpha": {}, "beta": {"max_lots_per_order": 0.1}}}
    async with Stack(nats_server.url, EXISTING_SERVER, front_door=section, policy=policy) as stack:
        listed.write_text(listed.read_text("ascii").replace(" spoiled", " Not A Name"))
        large = [await client(name).buy(0.5) for name in ("alpha", "beta")]
        nobody = await client("spoiled").ask("GET_ORDERS")
        shown = [one["client"] for one in stack.app.describe()["last_commands"]]

        assert "response" in large[0]
        assert "policy.clients.beta.max_lots_per_order" in large[1]["error_message"]
        assert ["beta", "alpha"] == shown
        assert {"error_message": "No client's name stands behind this key."} == nobody
    with pytest.raises(ConfigError, match="stands 'Not A Name', no client's name"):
        front_door.FrontDoor(stack.app.config.front_door, stack.app.commands.accept)


async def test_refusal_of_what_may_be_old_is_on_record(
    nats_server: NatsServer, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like every denial; and it says that it came through the door."""
    monkeypatch.setattr(front_door, "AFTER_OPENING_S", 60.0)
    async with Stack(nats_server.url, EXISTING_SERVER, front_door=door.section) as stack:
        await door.client().buy(id="early")
        archive = Archive(stack.client.connection, stack.client.subjects)
        early = CommandId("old", "early")
        told = await archive.explain(early)
        while not told.timeline:  # it is on its way into the stream
            told = await archive.explain(early)

        assert "denied" == told.outcome
        assert "received by front_door" in told.timeline[0].what


async def test_deadline_that_a_client_adds_holds(nats_server: NatsServer, door: Door) -> None:
    """It knows more than that server; what it says is not passed over."""
    async with Stack(nats_server.url, EXISTING_SERVER, front_door=door.section) as stack:
        late = await door.client().buy(deadline="2026-01-01T00:00:00Z")

        assert late["error_message"].startswith("expired, nothing ran")
        assert not stack.terminal.broker.orders


@pytest.mark.parametrize(
    ("endpoint", "more", "problem"),
    [
        ("tcp://127.0.0.1:1", {}, None),
        ("tcp://*:1", {}, "whoever reaches it may trade"),
        ("tcp://10.0.0.5:1", {}, "whoever reaches it may trade"),
        ("tcp://*:1", {"UNENCRYPTED": "true"}, None),
        ("tcp://*:1", {"CURVE_SECRET_KEY": "s", "CURVE_CLIENT_KEYS": "k"}, None),
        ("tcp://*:1", {"CURVE_SECRET_KEY": "s"}, "go together"),
        ("tcp://127.0.0.1:1", {"NAMED_BY_KEY": "true"}, "needs curve_client_keys"),
        ("tcp://127.0.0.1:1", {"TIMEOUT_S": "61"}, "above commands.maximum_timeout_s"),
    ],
)
def test_door_is_open_to_others_only_on_purpose(
    endpoint: str, more: dict[str, str], problem: str | None
) -> None:
    """Loopback, keys, or a word that says that one has thought of it."""
    keys_ = {"ENDPOINT": endpoint} | more
    environment = {f"MT4GW_FRONT_DOOR__{key}": value for key, value in keys_.items()}
    if problem is None:
        assert endpoint == load(None, environment).front_door.endpoint
    else:
        with pytest.raises(ConfigError, match=problem):
            load(None, environment)


def ended(outcome: Outcome, action: str = "DO_ORDER_SEND", **how: Any) -> Result:
    """Return a result."""
    conclusion = Conclusion(outcome, **how)
    return Result(CommandId("old", "x"), "demo", action, conclusion, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (ended(Outcome.SUCCEEDED, response=[]), b"{}"),
        (ended(Outcome.SUCCEEDED, response=0), b'{"response":0}'),
        (ended(Outcome.SUCCEEDED, response=0.00001), b'{"response":0.00001000}'),
        (
            ended(Outcome.SUCCEEDED, response={"a/b": "", "c": 'd"'}),
            b'{"response":{"a\\/b":null,"c":"d\\""}}',
        ),
        (ended(Outcome.SUCCEEDED, response=1, warning="odd"), b'{"response":1,"warning":"odd"}'),
        (
            ended(Outcome.SUCCEEDED, "DO_ORDER_CLOSE", response={"ticket": 7, "text": None}),
            b'{"response":"Closed order # 7"}',
        ),
        (
            ended(Outcome.REJECTED, cause=Cause(Source.TERMINAL, 413, "TOO_LONG", "too long")),
            b'{"error_message":"too long"}',
        ),
        (
            ended(Outcome.EXPIRED, cause=Cause(Source.GATEWAY, 408, "EXPIRED", "too late")),
            b'{"error_message":"expired, nothing ran: too late (id x)"}',
        ),
        (
            ended(Outcome.UNKNOWN, cause=Cause(Source.BROKER, 128, "ERR", "timeout")),
            b'{"error_message":"unknown, it may have run: look at the orders before you send it '
            b'again. timeout (id x)"}',
        ),
    ],
)
def test_reply_is_written_as_that_server_writes(result: Result, expected: bytes) -> None:
    """Eight decimals, null for an empty text, nothing for an empty list, one shape for us."""
    assert expected == existing_server.reply(result, {"ticket": 7})


def test_response_that_cannot_be_written_is_told_all_the_same() -> None:
    """A terminal may say what it likes: nobody is left without a reply, and nothing ends."""
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    said = existing_server.reply(ended(Outcome.SUCCEEDED, "GET_ORDERS", response=deep), {})

    assert b"succeeded, but the terminal's response is nested too deeply to be told (id x)" in said


async def test_modify_that_changes_nothing_fails_as_it_does_there(
    nats_server: NatsServer, door: Door
) -> None:
    """To the bus it is a success without an order; those clients would trip over that."""
    async with Stack(nats_server.url, EXISTING_SERVER, front_door=door.section) as stack:
        order = (await door.client().buy())["response"]
        modify = {"action": "DO_ORDER_MODIFY", "ticket": order["ticket"], "sl": 1.0}
        body = json.dumps(modify).encode()
        await door.client().ask_raw(body)
        past = await door.client(stack.terminal.request_endpoint).ask_raw(body)
        through = await door.client().ask_raw(body)

        assert past == through
        assert b'"error_code":1,' in past
