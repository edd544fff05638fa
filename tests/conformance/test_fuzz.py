"""Frames of noise into the hosted command program: one reply each, and nothing breaks.

2,000 by default; `MT4GW_FUZZ_FRAMES=50000` as in CI, a million by hand, `MT4GW_CONFORMANCE_SEED`
for other noise.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from gateway.sim.bridge import PlainClients
from tests.conformance.peers import Mql4Peer, Peer, PeerName
from tests.conformance.pipe_front import fits_a_line
from tests.conformance.test_same_replies import normalised
from tests.mql4host.client import Body, BridgeClient

FRAMES = int(os.environ.get("MT4GW_FUZZ_FRAMES", "2000"))
SEED = int(os.environ.get("MT4GW_CONFORMANCE_SEED", "1"))
BATCH = 50
MOST_CLOSED_ORDERS = 100
SESSION, LEDGER, EPOCH = b"(session)", b"(ledger)", 777_000_777

READS: list[Body] = [
    {"action": "GET_SYMBOL_INFO", "names": ["EURUSD", "GOLD spot"]},
    {"action": "GET_SYMBOL_INFO_DOUBLE", "symbol": "EURUSD", "property_id": 1},
    {"action": "GET_SYMBOL_MARKET_INFO", "symbol": "EURUSD", "property": "MODE_SPREAD"},
    {"action": "GET_ACCOUNT_INFO_INTEGER", "property_name": "ENUM_ACCOUNT_INFO_INTEGER::3"},
    {"action": "GET_OHLCV", "symbol": "EURUSD", "timeframe": 5, "limit": 20, "timeout": 200},
    {"action": "GET_SIGNAL_INFO", "names": ["Alpha Trend"]},
    {"action": "GET_ORDERS"},
    {"action": "GET_ORDER", "ticket": 1002, "id": "test/read", "attempt": 1},
    {"action": "GET_HISTORICAL_ORDERS"},
    {
        "action": "RUN_INDICATOR",
        "indicator": "iMA",
        "argv": ["EURUSD", 1, 14, 0, 0, 0, 0],
        "timeout": 200,
    },
    {"action": "HELLO", "gateway": "fuzz", "claim": False, "journal": 5},
    {"action": "PING"},
    {"action": "GET_SERVER_TIME"},
    {"action": "GET_TERMINAL_INFO"},
    {"action": "SUBSCRIBE_TICKS", "symbols": ["EURUSD"]},
]
TRADES: list[Body] = [
    {
        "action": "DO_ORDER_SEND",
        "symbol": "EURUSD",
        "order_type": 0,
        "lots": 0.01,
        "sl_points": 100,
        "tp": 1.5,
        "magic_number": 7,
        "comment": '~ABCDEFGHIJKLM\u00e9\U0001f600 "x"',
    },
    {"action": "DO_ORDER_MODIFY", "ticket": 1002, "sl": 1.0, "tp": 0},
    {"action": "DO_ORDER_CLOSE", "ticket": 1002, "lots": 0.01, "slippage": 5},
    {"action": "DO_ORDER_DELETE", "ticket": 1003, "close_if_opened": True},
    {"action": "DO_CLOSE_ALL", "symbol": "EURUSD", "side": "buy", "magic_number": 7},
    {"action": "RESOLVE"},
]
VALUES: list[Any] = [
    *(0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 1e300, -1e-300, 0.1, True, False, None, "", "x"),
    *("EURUSD", "NOPE", "\u20ac" * 20, "\x00", [], ["EURUSD"], [[]], {}, {"a": {"b": [1]}}, [None]),
    *("a" * 2000, "test/" + "x" * 92, "0" * 32, list(range(100))),
]
SPLICES = [b"{", b"}", b"[", b"]", b'"', b"\\", b"\\u", b"\\ud800", b",", b":", b"-", b"1e999"]
SPLICES += [b"\x00", b"\xff", b"\xf0\x9f", b"\n", b"NaN", b"null", b"[" * 200, b'{"a":' * 200]


def addressed(frames: list[bytes], client: BridgeClient) -> list[bytes]:
    """Put a terminal's session, ledger and epoch where the noise has left a place for them."""
    hello = client.hello
    return [
        frame.replace(SESSION, hello["session"].encode())
        .replace(LEDGER, hello["ledger"].encode())
        .replace(b"%d" % EPOCH, b"%d" % hello["epoch"])
        for frame in frames
    ]


class Noise:
    """Draw messages by a seed; most of them were a good request once.

    Attributes:
        names: How many commands share the trades.
    """

    def __init__(self, seed: int, names: int) -> None:
        self.names = names
        self._chance = random.Random(seed)
        self._seq = 0

    def messages(self) -> Iterator[list[bytes]]:
        """Return messages, each of one frame or more; see `addressed`."""
        while True:
            frames = [self._frame()]
            if self._chance.random() < 0.05:
                frames += [self._frame() for _ in range(self._chance.randrange(1, 4))]
            yield frames

    def _frame(self) -> bytes:
        chance = self._chance
        if chance.random() < 0.05:
            return chance.randbytes(chance.choice((0, 1, 10, 300, 70_000)))
        encoded = json.dumps(self._request(), ensure_ascii=chance.random() < 0.5).encode()
        for _ in range(chance.choice((0, 0, 0, 1, 1, 2, 5))):
            encoded = self._spoiled(encoded)
        return encoded

    def _request(self) -> Body:
        chance = self._chance
        request: Body = {"id": "test/read"} | chance.choice(
            READS if chance.random() < 0.4 else TRADES
        )
        if chance.random() < 0.1:
            request.pop("id")  # as a client of the existing server
        elif request["action"] == "RESOLVE" or request["action"].startswith("DO_"):
            request |= self._keys()
        for _ in range(chance.choice((0, 0, 1, 1, 3))):
            request[chance.choice(list(request))] = chance.choice(VALUES)
        return request

    def _keys(self) -> Body:
        self._seq += 1
        name = f"test/f{self._chance.randrange(self.names)}"
        return {
            "id": name,
            "attempt": self._chance.randrange(1, 4),
            "digest": hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(),
            "session": SESSION.decode(),
            "epoch": EPOCH,
            "seq": self._seq,
            "ledger": LEDGER.decode(),
            "not_after": 10**15,
            "journal": self._seq,
        }

    def _spoiled(self, encoded: bytes) -> bytes:
        chance = self._chance
        at = chance.randrange(len(encoded) + 1)
        match chance.randrange(5):
            case 0:
                return encoded[:at]
            case 1:
                return encoded[:at] + chance.choice(SPLICES) + encoded[at:]
            case 2:
                return encoded[:at] + encoded[at + chance.randrange(1, 9) :]
            case 3:
                return encoded[:at] + bytes([chance.randrange(256)]) + encoded[at + 1 :]
            case _:
                return encoded[:at] + encoded[chance.randrange(len(encoded) + 1) :]


def asked(client: BridgeClient, batch: list[list[bytes]]) -> list[Body]:
    """Send a batch at once and return its replies: as many, in order, each an object."""
    sent = [client.send_raw(*addressed(frames, client)) for frames in batch]
    received = [client.receive_raw() for _ in batch]
    assert sent == [correlation for correlation, _ in received]
    replies = [json.loads(body) for _, body in received]
    for frames, reply in zip(batch, replies, strict=True):
        assert "session" in reply, frames
        assert len(frames) == 1 or "bad_frames" == reply["reason"], frames
    return replies


def forget_closed_orders(peer: Mql4Peer) -> None:
    """Shorten the history, as a person does in the terminal.

    Who looks for a token asks the host for each closed order, one by one: with thousands of them
    the run would be about the host.
    """
    with peer.server.lock:
        if len(peer.broker.history) > MOST_CLOSED_ORDERS:
            del peer.broker.history[1:]  # the deposit stays


@pytest.mark.timeout(60 + FRAMES // 200)
@pytest.mark.parametrize("name", [PeerName.MQL4, PeerName.PIPE])
def test_noise_gets_one_reply_each(make_peer: Callable[[PeerName], Peer], name: PeerName) -> None:
    """As many replies as messages, in order, each an object; no finding of a sanitizer."""
    peer = make_peer(name)
    assert isinstance(peer, Mql4Peer)
    peer.expert.inputs["MaxWaitMs"] = 1
    with peer, BridgeClient(peer.endpoint) as client:
        noise = Noise(SEED, names=max(FRAMES // 10, 10)).messages()
        if name is PeerName.PIPE:
            noise = filter(fits_a_line, noise)
        for _ in range(0, FRAMES, BATCH):
            client.claim()  # noise may have claimed, or have used a far sequence number
            asked(client, list(islice(noise, BATCH)))
            forget_closed_orders(peer)
        print(f"{FRAMES} messages, {dict(peer.broker.made)}")

        assert "response" in client.ask("PING")
        assert [] == peer.findings
        assert 0 == peer.expert.stop()


OWN_MATTER = re.compile(
    rb'TERMINAL_INFO|SCRIBE_|"not_after": ?[1-9]\d{0,13}(?!\d)'
    rb'|[^"]\((session|ledger)\)|\((session|ledger)\)[^"]|"id": ?"\('
)
"""Actions by which a terminal tells what only it has; deadlines between the clocks of two; the
name of its session or its ledger inside another text, or as an id, which comes back."""


def is_comparable(frames: list[bytes]) -> bool:
    """Tell whether two terminals must say the same to a message."""
    return not any(OWN_MATTER.search(frame) for frame in frames)


def proven(reply: Body) -> Body:
    """Return what a reply tells apart from its words."""
    said: Body = json.loads(normalised(reply))
    return said | {"error_message": "(some text)"} if "error_message" in said else said


@pytest.mark.timeout(60 + FRAMES // 50)
@pytest.mark.parametrize("plain_clients", [PlainClients.READ, PlainClients.TRADE])
def test_noise_is_taken_alike(
    make_peer: Callable[[PeerName, PlainClients], Peer], plain_clients: PlainClients
) -> None:
    """What one terminal refuses, understands, or executes, the other does as well."""
    with (
        make_peer(PeerName.SIM, plain_clients) as sim,
        make_peer(PeerName.MQL4, plain_clients) as mql4,
        BridgeClient(sim.endpoint) as one,
        BridgeClient(mql4.endpoint) as other,
    ):
        noise = Noise(SEED + 1, names=max(FRAMES // 10, 10)).messages()
        for _ in range(0, FRAMES // 8, BATCH):
            for client in (one, other):
                if plain_clients is PlainClients.TRADE:
                    client.hello = client.ask("HELLO")["response"]
                else:
                    client.claim()
            batch = list(islice(filter(is_comparable, noise), BATCH))
            replies = zip(batch, asked(one, batch), asked(other, batch), strict=True)
            for frames, ours, theirs in replies:
                assert proven(ours) == proven(theirs), frames
