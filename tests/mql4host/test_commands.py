"""GatewayCommands: one reply per request on every path, and the decision in its order."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from gateway.sim.bridge_trades import TWO_STOP_LOSSES, TWO_TAKE_PROFITS
from gateway.sim.params import StrictParams
from gateway.sim.reads import READS
from gateway.sim.wire import Body as SimBody
from gateway.sim.wire import Refused, broker_time_text, encode
from tests.mql4host.broker_server import START_S, BrokerServer
from tests.mql4host.client import Body, BridgeClient, token
from tests.mql4host.hosted import HostedExpert
from tests.mql4host.test_codecs import mutations

Connect = Callable[[HostedExpert], BridgeClient]
OWN_KEYS = {"session", "clock_ms", "id", "attempt"}
NOISE = 600


COUNTER = itertools.count()
Shared = tuple[BridgeClient, BrokerServer]


@pytest.fixture(scope="module")
def shared(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Run one program for the tests that leave nothing behind; it has taken over."""
    server = BrokerServer()
    folder = tmp_path_factory.mktemp("shared")
    with (
        HostedExpert(programs["GatewayCommands"], server, folder, {"LedgerCreate": True}) as expert,
        BridgeClient(expert.endpoint) as client,
    ):
        client.claim()
        yield client, server


@pytest.fixture
def name() -> str:
    """Return a command's name that no other test uses."""
    return f"n{next(COUNTER)}"


def body_of(reply: Body) -> Body:
    """Return a reply without what the bridge adds."""
    return {key: value for key, value in reply.items() if key not in OWN_KEYS}


# ---- frames and garbage --------------------------------------------------------------------------


def test_a_request_of_several_frames_is_refused(
    gateway: BridgeClient, server: BrokerServer
) -> None:
    """One reply to the whole, nothing executed, and the next request is answered."""
    frame = json.dumps(gateway.buy_frame("one")).encode()

    for frames in ([frame, frame], [b"", frame], [frame, b"", b""]):
        reply = gateway.ask_raw(*frames)
        assert ("fenced", "bad_frames") == (reply["state"], reply["reason"])

    assert {} == server.broker.orders
    assert "response" in gateway.ask("PING", id="test/p")


@pytest.mark.parametrize(
    ("request_body", "message"),
    [
        (b"", "Request was empty."),
        (b"hello", "Failed to parse request."),
        (b'{"action":"GET_ORDERS"', "Failed to parse request."),
        (b'{"action":"GET_ORDERS"}}', "Failed to parse request."),
        (b"\xff\xfe", "Failed to parse request."),
        (b"[1,2]", "Failed to parse request."),
        (b"{}", "No request action specified."),
        (b'{"action":null}', "No request action specified."),
        (b'{"action":""}', "No request action specified."),
        (b'{"action":5}', "No request action specified."),
        (b'{"action":"get_orders"}', "Unrecognized requested action (get_orders)."),
        (b'{"action":"DO_EVERYTHING"}', "Unrecognized requested action (DO_EVERYTHING)."),
        (b'{"action":"PING","x":"' + b"a" * 70_000 + b'"}', "Failed to parse request."),
    ],
)
def test_garbage_gets_its_one_reply(shared: Shared, request_body: bytes, message: str) -> None:
    """Every request is answered, and the next one too."""
    gateway, _ = shared
    assert {"error_message": message} == body_of(gateway.ask_raw(request_body))
    assert "response" in gateway.ask("PING", id="test/p")


def test_noise_gets_one_reply_each(commands: HostedExpert, gateway: BridgeClient) -> None:
    """Requests of noise, pipelined: as many replies, in order, and the program goes on."""
    chance = random.Random(13)
    cases = list(mutations(chance, NOISE))
    actions = [*READS, "DO_ORDER_SEND", "RESOLVE", "HELLO", "DO_CLOSE_ALL", "SUBSCRIBE_TICKS"]
    keys = ["symbol", "lots", "ticket", "names", "argv", "timeout", "property_id", "epoch", "id"]
    values = [0, -1, 2**63, 1e300, "", "EURUSD", [], ["x"], {}, None, True, "\u20ac", [None]]
    for _ in range(NOISE):
        request: Body = {key: chance.choice(values) for key in chance.sample(keys, 4)}
        cases.append(json.dumps(request | {"action": chance.choice(actions)}).encode())

    for start in range(0, len(cases), 50):
        batch = cases[start : start + 50]
        sent = [gateway.send_raw(case) for case in batch]
        received = [gateway.receive_raw() for _ in batch]

        assert sent == [correlation for correlation, _ in received]
        assert all(isinstance(json.loads(body), dict) for _, body in received)


def test_an_oversized_frame_costs_the_peer_its_connection_only(
    gateway: BridgeClient, commands: HostedExpert, connect: Connect
) -> None:
    """Memory is not reserved for what a peer announces; others go on."""
    other = connect(commands)
    other.send_raw(b"x" * 2_000_000)

    assert "response" in gateway.ask("PING", id="test/p")


# ---- the decision --------------------------------------------------------------------------------


def test_hello_tells_who_the_terminal_is(
    commands: HostedExpert, connect: Connect, server: BrokerServer
) -> None:
    """Without a claim the epoch stays; each claim raises it, also over restarts."""
    client = connect(commands)
    first = client.ask("HELLO", id="test/h")["response"]
    assert ("bridge", 1, 0) == (first["dialect"], first["protocol"], first["epoch"])
    assert server.broker.terms.login == first["account"]["login"]

    epochs = [client.claim()["epoch"], client.claim()["epoch"]]
    commands.kill()
    commands.start()
    after = connect(commands).claim()

    assert [1, 2, 3] == [*epochs, after["epoch"]]
    assert first["ledger"] == after["ledger"]
    assert first["session"] != after["session"]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"session": "s0"}, "stale_session"),
        ({"epoch": 99}, "stale_epoch"),
        ({"epoch": 0}, "stale_epoch"),
        ({"seq": 0}, "stale_seq"),
        ({"session": "s0", "epoch": 99, "seq": 0, "ledger": "x"}, "stale_session"),
        ({"epoch": 99, "seq": 0, "ledger": "x"}, "stale_epoch"),
        ({"attempt": 0}, "bad_request"),
        ({"attempt": "1"}, "bad_request"),
        ({"attempt": 1.0}, "bad_request"),
        ({"digest": "x"}, "bad_request"),
        ({"digest": "g" * 32}, "bad_request"),
        ({"id": "nobody"}, "bad_request"),
        ({"id": "a/" + "b" * 96}, "bad_request"),
        ({"session": None}, "bad_request"),
        ({"seq": True}, "bad_request"),
        ({"ledger": 1}, "bad_request"),
        ({"not_after": "1"}, "bad_request"),
        ({"epoch": "1"}, "bad_request"),
        ({"journal": -1}, "bad_request"),
    ],
)
def test_a_wrong_frame_is_fenced(shared: Shared, name: str, wrong: Body, reason: str) -> None:
    """Nothing runs, and the frame says nothing about others."""
    gateway, server = shared
    before = list(server.broker.orders)
    gateway.resolve(name)
    reply = gateway.buy(name, **wrong)

    assert ("fenced", reason) == (reply["state"], reply["reason"])
    assert reply["error_message"]
    assert before == list(server.broker.orders)
    assert "not_seen" == gateway.resolve(name)["state"]


def test_another_ledger_is_a_doubt(gateway: BridgeClient, server: BrokerServer) -> None:
    """What was meant for another memory cannot be answered from this one."""
    reply = gateway.resolve("one", ledger="other")

    assert ("in_doubt", []) == (reply["state"], reply["evidence"]["tickets"])
    assert {} == server.broker.orders


def test_a_trade_runs_once(gateway: BridgeClient, server: BrokerServer) -> None:
    """The same id again is the same command: its stored reply, and no second order."""
    first, again, asked = gateway.buy("one"), gateway.buy("one", 2), gateway.resolve("one")

    assert [("done", False), ("done", True), ("done", True)] == [
        (reply["state"], reply["replayed"]) for reply in (first, again, asked)
    ]
    assert first["response"] == again["response"] == asked["response"]
    assert 1 == len(server.broker.orders)
    assert "id_conflict" == gateway.buy("one", digest="0" * 32)["reason"]


def test_what_was_late_stays_sealed(gateway: BridgeClient, server: BrokerServer) -> None:
    """Past not_after a command never runs, whatever comes later; RESOLVE seals as well."""
    now_ms = gateway.ask("PING", id="test/p")["clock_ms"]

    states = [
        gateway.buy("one", not_after=now_ms - 1)["state"],
        gateway.buy("one", 2)["state"],
        gateway.resolve("one")["state"],
        gateway.resolve("two", not_after=now_ms - 1)["state"],
        gateway.buy("two")["state"],
        gateway.resolve("three")["state"],
    ]

    assert ["sealed"] * 5 + ["not_seen"] == states
    assert {} == server.broker.orders


def test_the_deadline_is_checked_again_before_the_call(
    gateway: BridgeClient, server: BrokerServer, commands: HostedExpert
) -> None:
    """Time passes between the first check and the call: sealed, and no OrderSend is made."""
    now_ms = gateway.ask("PING", id="test/p")["clock_ms"]

    def take_a_minute(_: list[str]) -> None:
        server.clock_shift_ms = 60_000

    server.after["IsTradeContextBusy"] = take_a_minute
    reply = gateway.buy("one", not_after=now_ms + 30_000)

    assert "sealed" == reply["state"]
    assert 0 == server.calls.get("OrderSend", 0)
    lines = commands.ledger_files[0].read_text().splitlines()
    kinds = [json.loads(line[9:])["kind"] for line in lines]
    assert ["started", "sealed"] == kinds[-2:]
    assert "sealed" == gateway.resolve("one")["state"]


@pytest.mark.parametrize(
    ("code", "state"),
    [
        *((code, "not_now") for code in (135, 136, 138, 146)),
        *((code, "rejected") for code in (3, 5, 7, 8, 64, 65, 129, 134, 140, 141, 144, 145)),
        *((code, "rejected") for code in (147, 150, 4051, 4060, 4106, 4112)),
        *((code, "in_doubt") for code in (0, 1, 2, 4, 6, 9, 128, 137, 139, 142, 143, 151, 4113)),
    ],
)
def test_codes_of_a_send(shared: Shared, name: str, code: int, state: str) -> None:
    """What each code proves is told, stored and answered again."""
    gateway, server = shared
    server.before["OrderSend"] = lambda _: ([-1], code)

    reply = gateway.buy(name, lots=0.01)

    assert (state, code, "Failed to send order.") == (
        reply["state"],
        reply["error_code"],
        reply["error_message"],
    )
    if state == "in_doubt":
        assert {"tickets": [], "code": code} == reply["evidence"]
    asked = gateway.resolve(name)
    assert (state, code) == (asked["state"], asked["error_code"])
    assert asked["replayed"]
    server.before.clear()
    assert "stale_attempt" == gateway.buy(name).get("reason", "stale_attempt")
    assert ("done" if state == "not_now" else state) == gateway.buy(name, 2, lots=0.01)["state"]


def test_not_now_is_sealed_by_a_late_question(gateway: BridgeClient, server: BrokerServer) -> None:
    """In time it is told what stopped the attempt; past the deadline that it never will run."""
    server.platform.is_context_busy = True
    gateway.buy("one")
    asked = gateway.resolve("one")
    late = gateway.resolve("one", not_after=0)
    server.platform.is_context_busy = False

    assert ("not_now", 146, True) == (asked["state"], asked["error_code"], asked["replayed"])
    assert ["sealed", "sealed"] == [late["state"], gateway.buy("one", 2)["state"]]


def test_code_1_on_a_modify_means_that_it_holds(gateway: BridgeClient) -> None:
    """Unchanged values are what was asked for."""
    ticket = gateway.buy("one")["response"]["ticket"]
    first = gateway.trade("DO_ORDER_MODIFY", "m1", ticket=ticket, sl=1.1)
    again = gateway.trade("DO_ORDER_MODIFY", "m2", ticket=ticket, sl=1.1)

    assert ["done", "done"] == [first["state"], again["state"]]
    assert 1.1 == again["response"]["sl"]


@pytest.mark.parametrize(
    ("switch", "state", "code"),
    [
        ("is_connected", "not_now", 6),
        ("is_context_busy", "not_now", 146),
        ("is_trade_allowed", "rejected", 4109),
    ],
)
def test_permissions_are_checked_first(
    gateway: BridgeClient, server: BrokerServer, switch: str, state: str, code: int
) -> None:
    """Nothing is tried without connection, permission and a free context, and the code is told."""
    setattr(server.platform, switch, not getattr(server.platform, switch))

    reply = gateway.buy("one")

    assert (state, code) == (reply["state"], reply["error_code"])
    assert 0 == server.calls.get("OrderSend", 0)


def test_stops_go_into_the_order_itself(gateway: BridgeClient, server: BrokerServer) -> None:
    """No position is ever without the stops that were asked for."""
    reply = gateway.buy("one", sl=1.11, tp_points=200, magic_number=-7)
    limit = gateway.buy("two", order_type=2, price=1.1, sl_points=50, expiration=1_600_100_000)

    assert (1.11, 1.1232, -7) == tuple(reply["response"][k] for k in ("sl", "tp", "magic_number"))
    assert (1.0995, "2020.09.14 16:13:20") == tuple(
        limit["response"][k] for k in ("sl", "expiration")
    )
    assert 2 == server.calls["OrderSend"]
    assert 0 == server.calls.get("OrderModify", 0)


def test_orders_live_and_die_as_asked(gateway: BridgeClient, server: BrokerServer) -> None:
    """Modify, partial close, close, delete, with the existing server's replies."""
    opened = gateway.buy("one", lots=0.3, sl=1.1)["response"]["ticket"]
    pending = gateway.buy("two", order_type=2, price=1.1)["response"]["ticket"]

    removed = gateway.trade("DO_ORDER_MODIFY", "m", ticket=opened, sl=0, tp=1.2)["response"]
    moved = gateway.trade("DO_ORDER_MODIFY", "n", ticket=pending, price=1.09)["response"]
    part = gateway.trade("DO_ORDER_CLOSE", "c", ticket=opened, lots=0.1)
    deleted = gateway.trade("DO_ORDER_DELETE", "d", ticket=pending)
    refused = gateway.trade("DO_ORDER_DELETE", "e", ticket=opened + 2)
    closed = gateway.trade("DO_ORDER_DELETE", "f", ticket=opened + 2, close_if_opened=True)

    assert (0.0, 1.2, 1.09) == (removed["sl"], removed["tp"], moved["open_price"])
    assert f"Closed order # {opened}" == part["response"]
    assert f"Deleted pending order # {pending}." == deleted["response"]
    assert (4108, "rejected") == (refused["error_code"], refused["state"])
    assert f"Closed order # {opened + 2}" == closed["response"]
    assert {} == server.broker.orders


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"symbol": None}, 'Missing "symbol" param.'),
        ({"order_type": None}, 'Missing "order_type" param.'),
        ({"lots": None}, 'Missing "lots" param.'),
        ({"comment": None}, 'Missing "comment" param.'),
        ({"order_type": "OP_SELL"}, 'Param "order_type" is not an integer.'),
        ({"order_type": True}, 'Param "order_type" is not an integer.'),
        ({"order_type": 1.9}, 'Param "order_type" is not an integer.'),
        ({"order_type": 6}, "Invalid trade operation: 6"),
        ({"lots": "abc"}, 'Param "lots" is not a number.'),
        ({"lots": True}, 'Param "lots" is not a number.'),
        ({"order_type": 2}, 'Cannot place a pending order without the "price" parameter.'),
        ({"expiration": 1}, 'Only a pending order can have an "expiration" parameter.'),
        ({"comment": "mine"}, 'Param "comment" does not begin with a token.'),
        ({"slippage": -1}, 'Param "slippage" is negative.'),
        ({"magic_number": 2**31}, 'Param "magic_number" is not an integer.'),
        (
            {"sl": 1, "sl_points": 1},
            TWO_STOP_LOSSES,
        ),
        (
            {"tp": 1, "tp_points": 1},
            TWO_TAKE_PROFITS,
        ),
    ],
)
def test_wrong_parameters_are_refused_for_good(
    shared: Shared, name: str, parameters: Body, message: str
) -> None:
    """No coercion: a wrong type is never a trade."""
    gateway, server = shared
    calls = server.calls.get("OrderSend", 0)
    reply = gateway.buy(name, **parameters)

    assert ("rejected", message) == (reply["state"], reply["error_message"])
    assert "rejected" == gateway.resolve(name)["state"]
    assert calls == server.calls.get("OrderSend", 0)


def test_a_close_with_a_negative_slippage_is_refused(
    gateway: BridgeClient, server: BrokerServer
) -> None:
    """As a send is; only a missing one is the default."""
    ticket = gateway.buy("one")["response"]["ticket"]
    refused = gateway.trade("DO_ORDER_CLOSE", "a", ticket=ticket, slippage=-1)
    closed = gateway.trade("DO_ORDER_CLOSE", "b", ticket=ticket, slippage=None)

    assert ("rejected", 'Param "slippage" is negative.') == (
        refused["state"],
        refused["error_message"],
    )
    assert "done" == closed["state"]
    assert 1 == server.calls["OrderClose"]


def test_a_modify_sets_a_given_expiration(gateway: BridgeClient) -> None:
    """Broker seconds; 0 takes it away, an absent one stays."""
    pending: Body = {"order_type": 2, "price": 1.1, "expiration": START_S + 600}
    ticket = gateway.buy("one", **pending)["response"]["ticket"]
    changes: list[Body] = [{"expiration": START_S + 900}, {"price": 1.09}, {"expiration": 0}]

    replies = [
        gateway.trade("DO_ORDER_MODIFY", f"m{at}", ticket=ticket, **change)
        for at, change in enumerate(changes)
    ]

    assert [broker_time_text(s) for s in (START_S + 900, START_S + 900, 0)] == [
        reply["response"]["expiration"] for reply in replies
    ]


@pytest.mark.parametrize(
    ("order", "expires_s", "message"),
    [
        ({}, START_S + 600, 'Only a pending order can have an "expiration" parameter.'),
        ({}, 0, 'Only a pending order can have an "expiration" parameter.'),
        ({"order_type": 2, "price": 1.1}, -1, 'Param "expiration" is negative.'),
        ({"order_type": 2, "price": 1.1}, "1", 'Param "expiration" is not an integer.'),
    ],
)
def test_a_modify_refuses_an_expiration_that_cannot_be(
    gateway: BridgeClient, server: BrokerServer, order: Body, expires_s: object, message: str
) -> None:
    """Nothing of the request is done, whatever else it asks for."""
    ticket = gateway.buy("one", **order)["response"]["ticket"]
    reply = gateway.trade("DO_ORDER_MODIFY", "m", ticket=ticket, sl=1.05, expiration=expires_s)

    assert ("rejected", message) == (reply["state"], reply["error_message"])
    assert 0 == server.calls.get("OrderModify", 0)


def test_an_expiration_comes_too_late_for_an_order_that_fills(
    gateway: BridgeClient, server: BrokerServer
) -> None:
    """Filled between check and call: refused, never done without what was asked for."""
    pending: Body = {"order_type": 2, "price": 1.1}
    ticket = gateway.buy("one", **pending)["response"]["ticket"]

    def fill(_: list[str]) -> None:
        server.quote("EURUSD", 1.0998, 1.1)

    server.before["RefreshRates"] = fill
    reply = gateway.trade("DO_ORDER_MODIFY", "m", ticket=ticket, expiration=START_S + 600)

    assert "rejected" == reply["state"]
    assert 0 == server.calls.get("OrderModify", 0)
    assert 0 == int(server.broker.orders[ticket].order_type)


def test_a_busy_context_is_no_lack_of_permission(
    gateway: BridgeClient, server: BrokerServer
) -> None:
    """Reads tell the switch; that another program trades just now is the trade's affair."""
    told: list[list[bool]] = []
    for is_allowed, is_busy in ((True, True), (False, False)):
        server.platform.is_trade_allowed = is_allowed
        server.platform.is_context_busy = is_busy
        told.append(
            [
                gateway.ask(action, id="test/r")["response"]["trade_allowed"]
                for action in ("HELLO", "PING", "GET_TERMINAL_INFO")
            ]
        )

    assert [[True] * 3, [False] * 3] == told


def test_own_limits(commands: HostedExpert, server: BrokerServer, connect: Connect) -> None:
    """The program's inputs bound what any gateway can do."""
    commands.inputs |= {"MaxLotsPerOrder": 0.5, "MaxOpenOrders": 2}
    commands.inputs |= {"AllowedSymbols": "EURUSD, GBPUSD"}
    commands.kill()
    commands.start()
    client = connect(commands)
    client.claim()

    replies = [
        client.buy("a", lots=0.6),
        client.buy("b", symbol="USDJPY"),
        client.buy("c", lots=0.5),
        client.buy("d"),
        client.buy("e"),
    ]

    assert ["rejected", "rejected", "done", "done", "rejected"] == [r["state"] for r in replies]
    inputs = ["MaxLotsPerOrder", "AllowedSymbols", "MaxOpenOrders"]
    assert inputs == [
        next(name for name in inputs if name in r["error_message"])
        for r in replies
        if r["state"] == "rejected"
    ]


def test_close_all_by_symbol_magic_and_side(gateway: BridgeClient, server: BrokerServer) -> None:
    """Only what fits is closed, each ticket under its own line in the ledger."""
    wanted: dict[str, Body] = {
        "a": {"magic_number": 1},
        "b": {"order_type": 1},
        "c": {"symbol": "GBPUSD"},
        "d": {"order_type": 2, "price": 1.0},
    }
    tickets = {
        name: gateway.buy(name, **what)["response"]["ticket"] for name, what in wanted.items()
    }

    first = gateway.trade("DO_CLOSE_ALL", "x", symbol="EURUSD", side="buy", magic_number=1)
    rest = gateway.trade("DO_CLOSE_ALL", "y")
    none = gateway.trade("DO_CLOSE_ALL", "z")
    wrong = gateway.trade("DO_CLOSE_ALL", "w", side="up")

    assert [{"ticket": tickets["a"], "closed": True}] == first["response"]
    assert [tickets["b"], tickets["c"]] == [item["ticket"] for item in rest["response"]]
    assert [] == none["response"]
    assert "rejected" == wrong["state"]
    assert [tickets["d"]] == list(server.broker.orders)
    assert first["response"] == gateway.resolve("x")["response"]


def test_close_all_tells_each_ticket(gateway: BridgeClient, server: BrokerServer) -> None:
    """A refusal is told with its code; a doubt puts the whole in doubt, the others are tried."""
    tickets = [gateway.buy(name)["response"]["ticket"] for name in "abc"]
    codes = iter([129, 128])
    server.before["OrderClose"] = lambda _: ([0], code) if (code := next(codes, 0)) else None

    reply = gateway.trade("DO_CLOSE_ALL", "x")

    assert ("in_doubt", [tickets[1]]) == (reply["state"], reply["evidence"]["tickets"])
    assert [(False, 129), (False, 128), (True, None)] == [
        (item["closed"], item.get("error_code")) for item in reply["response"]
    ]
    assert tickets[:2] == list(server.broker.orders)


def test_close_all_that_was_cut_short_names_its_tickets(
    gateway: BridgeClient, server: BrokerServer, commands: HostedExpert, connect: Connect
) -> None:
    """After a crash in the middle the evidence is what it had begun to close."""
    tickets = [gateway.buy(name)["response"]["ticket"] for name in "abc"]

    def die_at_the_second(arguments: list[str]) -> None:
        if int(arguments[0]) == tickets[1]:
            commands.kill()

    server.before["OrderClose"] = die_at_the_second
    gateway.send_raw(json.dumps(gateway.frame("DO_CLOSE_ALL", "x")).encode())
    commands.join()
    commands.start()
    client = connect(commands)
    client.claim()

    replies = [client.resolve("x"), client.resolve("x")]

    assert ["in_doubt", "in_doubt"] == [reply["state"] for reply in replies]
    assert [tickets[:2], tickets[:2]] == [reply["evidence"]["tickets"] for reply in replies]
    assert "in_doubt" == client.trade("DO_CLOSE_ALL", "x", 2)["state"]


def test_close_all_stops_at_the_deadline(gateway: BridgeClient, server: BrokerServer) -> None:
    """Nothing starts after the deadline, not even the second of two."""
    for name in "ab":
        gateway.buy(name)
    now_ms = gateway.ask("PING", id="test/p")["clock_ms"]

    def take_a_minute(_: list[str]) -> None:
        server.clock_shift_ms = 60_000

    server.after["OrderClose"] = take_a_minute
    reply = gateway.trade("DO_CLOSE_ALL", "x", not_after=now_ms + 30_000)

    assert [True, False] == [item["closed"] for item in reply["response"]]
    assert 1 == server.calls["OrderClose"]


# ---- plain clients -------------------------------------------------------------------------------

READ, TRADE = (
    {"action": "GET_ACCOUNT_INFO"},
    {
        "action": "DO_ORDER_SEND",
        "symbol": "EURUSD",
        "order_type": 0,
        "lots": 0.1,
        "comment": "",
        "price": None,
        "slippage": None,
        "sl": None,
        "tp": None,
        "sl_points": 100,
        "tp_points": None,
    },
)


def test_a_gateway_greets_where_plain_clients_get_nothing(
    commands: HostedExpert, connect: Connect
) -> None:
    """The bridge's own reads need neither id nor epoch, whatever the input says."""
    commands.inputs["PlainClients"] = 0
    commands.kill()
    commands.start()
    client = connect(commands)

    assert "response" in client.ask("HELLO")
    assert "response" in client.ask("PING")
    assert "response" in client.ask("GET_ORDER", id="test/r", ticket=1001)
    assert "plain_clients" == client.ask("GET_ORDER", ticket=1001)["reason"]


@pytest.mark.parametrize(("mode", "allowed"), [(0, ()), (1, ("read",)), (2, ("read", "trade"))])
def test_plain_clients(
    commands: HostedExpert,
    server: BrokerServer,
    connect: Connect,
    mode: int,
    allowed: tuple[str, ...],
) -> None:
    """Clients of the existing server may what the input says; with `trade` no gateway may."""
    may_read, may_trade = "read" in allowed, "trade" in allowed
    commands.inputs["PlainClients"] = mode
    commands.kill()
    commands.start()
    client = connect(commands)
    client.hello = client.ask("HELLO", id="test/h")["response"]

    read, trade = (
        client.ask_raw(json.dumps(READ).encode()),
        client.ask_raw(json.dumps(TRADE).encode()),
    )
    claim = client.ask("HELLO", id="test/h", claim=True)

    assert [may_read, may_trade] == ["response" in read, "response" in trade]
    assert [not may_read, not may_trade] == [
        r.get("reason") == "plain_clients" for r in (read, trade)
    ]
    assert (not may_trade) == ("response" in claim)
    if may_trade:
        assert 1.1202 == trade["response"]["sl"]
        assert "plain_clients" == client.buy("one")["reason"]
        assert 1 == len(server.broker.orders)


def test_an_old_client_gets_its_replies(commands: HostedExpert, server: BrokerServer) -> None:
    """A REQ socket with strict alternation, as the existing clients have it."""
    context = zmq.Context()
    socket = context.socket(zmq.REQ)
    socket.linger = 0
    socket.rcvtimeo = 10_000
    socket.connect(commands.endpoint)
    try:
        for request in (READ, TRADE, {"action": "GET_ORDERS"}, {"action": "HELP"}):
            socket.send_json(request)
            reply = socket.recv_json()
            assert isinstance(reply, dict)
            assert not [key for key in reply if key.startswith("error") and reply[key] is None]
    finally:
        socket.close()
        context.term()


# ---- reads, compared with the simulator ----------------------------------------------------------

READING: list[tuple[str, Body]] = [
    ("GET_ACCOUNT_INFO", {}),
    *(
        ("GET_ACCOUNT_INFO_INTEGER", parameters)
        for parameters in (
            {"property_name": "ACCOUNT_LEVERAGE"},
            {"property_id": 0},
            {"property_id": 200},
            {"property_name": "ACCOUNT_BALANCE"},
            {"property_name": "ENUM_ACCOUNT_INFO_INTEGER::3"},
            {},
            {"property_id": "0"},
        )
    ),
    ("GET_ACCOUNT_INFO_DOUBLE", {"property_name": "ACCOUNT_EQUITY"}),
    ("GET_ACCOUNT_INFO_DOUBLE", {"property_name": "ACCOUNT_FREEMARGIN"}),
    ("GET_ACCOUNT_INFO_DOUBLE", {"property_id": 37}),
    ("GET_SYMBOLS", {}),
    ("GET_SYMBOL_INFO", {"names": ["EURUSD", "#AAPL"]}),
    ("GET_SYMBOL_INFO", {"names": ["EURUSD", "NOPE"]}),
    ("GET_SYMBOL_INFO", {"names": []}),
    ("GET_SYMBOL_INFO", {"names": "EURUSD"}),
    ("GET_SYMBOL_INFO", {"names": [1]}),
    ("GET_SYMBOL_INFO", {}),
    ("GET_SYMBOL_MARKET_INFO", {"symbol": "EURUSD", "property": "MODE_SPREAD"}),
    ("GET_SYMBOL_MARKET_INFO", {"symbol": "EURUSD", "property": "MODE_NONE"}),
    ("GET_SYMBOL_MARKET_INFO", {"symbol": "NOPE", "property": "MODE_SPREAD"}),
    ("GET_SYMBOL_INFO_INTEGER", {"symbol": "EURUSD", "property_name": "SYMBOL_DIGITS"}),
    ("GET_SYMBOL_INFO_INTEGER", {"symbol": "GOLD spot", "property_name": "SYMBOL_DIGITS"}),
    ("GET_SYMBOL_INFO_INTEGER", {"symbol": "EURUSD", "property_id": 9999}),
    ("GET_SYMBOL_INFO_DOUBLE", {"symbol": "EURUSD", "property_id": 1}),
    ("GET_SYMBOL_INFO_STRING", {"symbol": "EURUSD", "property_name": "SYMBOL_CURRENCY_BASE"}),
    ("GET_SYMBOL_INFO_STRING", {"symbol": "EURUSD", "property_name": "SYMBOL_DESCRIPTION"}),
    ("GET_SYMBOL_INFO_STRING", {"symbol": "EURUSD", "property_name": "SYMBOL_BID"}),
    ("GET_SYMBOL_TICK", {"symbol": "EURUSD"}),
    ("GET_SYMBOL_TICK", {"symbol": "NOPE"}),
    ("GET_OHLCV", {"symbol": "EURUSD", "timeframe": 5, "limit": 20, "timeout": 1000}),
    ("GET_OHLCV", {"symbol": "EURUSD", "timeframe": 7, "limit": 20, "timeout": 1000}),
    ("GET_OHLCV", {"symbol": "EURUSD", "timeframe": 5, "limit": 20, "timeout": 10}),
    ("GET_OHLCV", {"symbol": "EURUSD", "timeframe": 5, "limit": 20}),
    ("GET_SIGNALS", {}),
    ("GET_SIGNAL_INFO", {"names": ["Alpha Trend", 'Grid "Pro"']}),
    ("GET_SIGNAL_INFO", {"names": ["Alpha Trend", "b", "c"]}),
    ("GET_ORDER", {"ticket": 1001}),
    ("GET_ORDER", {"ticket": 1002}),
    ("GET_ORDER", {"ticket": 99}),
    ("GET_ORDER", {"ticket": "1001"}),
    ("GET_ORDERS", {}),
    ("GET_HISTORICAL_ORDERS", {}),
    *(
        ("RUN_INDICATOR", {"indicator": name, "argv": argv, "timeout": timeout})
        for name, argv, timeout in (
            ("iMA", ["EURUSD", 1, 14, 0, 0, 0, 0], 1000),
            ("iFractals", ["EURUSD", 1, 1, 0], 1000),
            ("iAC", ["EURUSD", 1, 0], 1000),
            ("iEnvelopes", ["EURUSD", 1, 14, 0, 0, 0, 0.1, 1, 0], 1000),
            ("iGator", ["EURUSD", *range(1, 12)], 1000),
            ("iSAR", ["EURUSD", 1, 0.02, 0.2, 0], 1000),
            ("iCustom", ["EURUSD", 1], 1000),
            ("iMA", ["EURUSD", 1, 14, 0, 0, 0, 0], 10),
        )
    ),
]


@pytest.fixture(scope="module")
def reading(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a client and the terminal, with an order open; both for all tests of reads."""
    server = BrokerServer()
    server.broker.order_send("EURUSD", 0, 0.1, 1.12132, 10, stop_loss=1.1, comment="ab\tc")
    folder = tmp_path_factory.mktemp("reading")
    with (
        HostedExpert(programs["GatewayCommands"], server, folder, {}) as expert,
        BridgeClient(expert.endpoint) as client,
    ):
        yield client, server


@pytest.mark.parametrize(("action", "parameters"), READING)
def test_reads_are_answered_as_by_the_simulator(
    reading: tuple[BridgeClient, BrokerServer], action: str, parameters: Body
) -> None:
    """Same shape, same order of keys, same text; numbers with eight decimals."""
    client, server = reading
    server.platform.market_watch = set(list(server.broker.specs)[:4])
    sent = client.send_raw(json.dumps({"action": action, **parameters}).encode())
    correlation, reply = client.receive_raw()
    assert sent == correlation
    server.platform.market_watch = set(list(server.broker.specs)[:4])

    assert expected_read(server, action, parameters) == list(body_of(json.loads(reply)).items())


def expected_read(server: BrokerServer, action: str, parameters: Body) -> list[tuple[str, object]]:
    """Return what the simulator answers, key by key."""
    try:
        body: SimBody = READS[action](server.platform, StrictParams(parameters)).body
    except Refused as refused:
        body = refused.body
    return list(json.loads(encode(body, strict=True)).items())


def test_history_that_loads_is_waited_for(
    reading: tuple[BridgeClient, BrokerServer],
) -> None:
    """The timer asks again; until then other programs of the terminal go on."""
    client, server = reading
    tries = iter(range(5))
    server.before["CopyRates"] = lambda _: ([], 4066) if next(tries, None) is not None else None
    asked = {"symbol": "EURUSD", "timeframe": 1, "limit": 3, "timeout": 5000}
    reply = client.ask("GET_OHLCV", **asked)
    server.before["CopyRates"] = lambda _: ([], 4066)
    late = client.ask("GET_OHLCV", **(asked | {"timeout": 150}))
    server.before.clear()

    assert 3 == len(reply["response"])
    assert "Timed out waiting for OHLCV data." == late["error_message"]


def test_a_symbol_without_data_divides_nothing(
    reading: tuple[BridgeClient, BrokerServer],
) -> None:
    """Point and tick size are 0 until data comes; the program lives."""
    client, server = reading
    server.before["MarketInfo"] = lambda _: ([0.0], 0)

    reply = client.ask("GET_SYMBOL_MARKET_INFO", symbol="EURUSD", property="MODE_POINT")
    server.before.clear()

    assert 0.0 == reply["response"]


def test_a_send_without_prices_is_not_now(gateway: BridgeClient, server: BrokerServer) -> None:
    """The same on the way to an order: no zero divide, no order at price 0."""
    server.before["MarketInfo"] = lambda _: ([0.0], 0)

    reply = gateway.buy("one", sl_points=10)

    assert ("not_now", 136) == (reply["state"], reply["error_code"])
    assert 0 == server.calls.get("OrderSend", 0)


def test_ten_thousand_bars_are_quick(reading: tuple[BridgeClient, BrokerServer]) -> None:
    """No text is built again and again: a large reply takes a moment."""
    client, server = reading
    bars = [[1_600_000_000 + 60 * i, 1.1, 1.2, 1.0, 1.15, 50] for i in range(10_000)]

    fields = [len(bars), *(field for bar in bars for field in bar)]
    server.before["CopyRates"] = lambda _: (fields, 0)
    asked = {"symbol": "EURUSD", "timeframe": 1, "limit": len(bars), "timeout": 1000}
    start = time.perf_counter()

    reply = client.ask("GET_OHLCV", **asked)

    took_s = time.perf_counter() - start
    server.before.clear()
    assert len(bars) == len(reply["response"])
    # Unoptimised, with sanitizers, on a busy machine; about 0.7 s on a quiet one (docs/mql4.md).
    assert took_s < 4


def test_texts_are_escaped_everywhere(gateway: BridgeClient, server: BrokerServer) -> None:
    """Control characters, quotes and letters of all sizes survive the way out."""
    comment = token("test/one") + '"\\\n\x01\u00e9\U0001f600'
    reply = gateway.buy("one", comment=comment)

    assert comment == reply["response"]["comment"]
    assert comment == gateway.resolve("one")["response"]["comment"]


def test_curve_keeps_strangers_out(
    programs: dict[str, Path], server: BrokerServer, tmp_path: Path
) -> None:
    """With a key, only clients that know the terminal's public key are heard."""
    public, secret = zmq.curve_keypair()
    ours = zmq.curve_keypair()
    expert = HostedExpert(
        programs["GatewayCommands"], server, tmp_path, {"CurveSecretKey": secret.decode()}
    )
    with (
        expert,
        BridgeClient(expert.endpoint, curve=(public, *ours)) as client,
        BridgeClient(expert.endpoint) as stranger,
    ):
        stranger.send_raw(b"{}")
        assert "response" in client.ask("PING", id="test/p")
        assert not stranger._socket.poll(100)


@pytest.mark.parametrize("is_encrypted", [True, False], ids=["curve", "plain"])
def test_it_connects_to_a_gateway_that_binds(
    programs: dict[str, Path], server: BrokerServer, tmp_path: Path, is_encrypted: bool
) -> None:
    """The trading computer then opens no port; with keys each side knows the other."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    inputs: dict[str, Any] = {"ConnectsOut": True}
    if is_encrypted:
        (public, secret), (own_public, own_secret) = zmq.curve_keypair(), zmq.curve_keypair()
        socket.curve_server, socket.curve_secretkey = True, secret
        inputs |= {
            "CurveServerKey": public.decode(),
            "CurvePublicKey": own_public.decode(),
            "CurveSecretKey": own_secret.decode(),
        }
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    expert = HostedExpert(
        programs["GatewayCommands"],
        server,
        tmp_path,
        inputs,
        endpoint=f"tcp://127.0.0.1:{port}",
    )
    try:
        with expert:
            assert socket.poll(10_000, zmq.POLLOUT)
            socket.send_multipart([b"1", b"", b'{"action":"PING","id":"test/p"}'])
            assert socket.poll(10_000)
            assert b"response" in socket.recv_multipart()[2]
    finally:
        socket.close()
        context.term()


@pytest.mark.parametrize(
    "inputs",
    [
        {"CurveSecretKey": "short"},
        {"CurveSecretKey": "s" * 40, "ConnectsOut": True},
        {"CurveSecretKey": "s" * 40, "CurveServerKey": "p" * 40},
        {"CurvePublicKey": "p" * 40, "CurveServerKey": "p" * 40, "ConnectsOut": True},
    ],
    ids=["short", "connects without the gateway's", "binds with one more", "no secret"],
)
def test_keys_that_do_not_fit_stop_it(
    programs: dict[str, Path], server: BrokerServer, tmp_path: Path, inputs: dict[str, Any]
) -> None:
    """It does not run unencrypted where encryption was meant."""
    expert = HostedExpert(programs["GatewayCommands"], server, tmp_path, inputs)
    with pytest.raises(RuntimeError, match="the Curve keys have 40 characters each"), expert:
        pass
    expert.kill()


def test_it_ends_when_it_is_removed(commands: HostedExpert, gateway: BridgeClient) -> None:
    """Removing the expert takes no time and leaves the ledger free."""
    assert 0 == commands.stop()
    assert "host: stopped" in commands.log
