"""The terminal's decision, row by row (docs/protocol.md)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.sim.bridge import PlainClients
from gateway.sim.ledger import EntryKind
from tests.sim.programs import DIGEST, SEND, Bridge


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    """Run a bridge that a gateway has claimed."""
    bridge = Bridge(tmp_path / "ledger.txt")
    yield bridge
    bridge.ledger.close()


def fence(reply: dict[str, Any]) -> str:
    """Return why a frame was not acted on."""
    assert reply["state"] == "fenced", reply
    assert reply["error_message"]
    return str(reply["reason"])


# --- frames and parsing -------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 2, 3])
def test_other_than_one_body_frame_is_fenced(bridge: Bridge, count: int) -> None:
    """Nothing of a message with several body frames is executed."""
    (answer,) = bridge.program.answer([json.dumps(SEND).encode()] * count)

    assert fence(dict(answer.body)) == "bad_frames"
    assert bridge.orders == 0


@pytest.mark.parametrize("body", [b"hello", b"[1]", b'{"action":"PING"', b'{"a":NaN}'])
def test_anything_but_an_object_is_an_error(bridge: Bridge, body: bytes) -> None:
    """What the existing server's parser forgives is refused here."""
    (answer,) = bridge.program.answer([body])

    assert answer.body["error_message"] == "Failed to parse request."


def test_empty_frame_is_named_as_the_existing_server_does(bridge: Bridge) -> None:
    """It is a request, with nothing in it."""
    (answer,) = bridge.program.answer([b""])

    assert answer.body["error_message"] == "Request was empty."


def test_unknown_action_is_an_error_without_state(bridge: Bridge) -> None:
    """The reply is the existing server's."""
    reply = bridge.frame(action="DO_MAGIC", id="me/1")

    assert reply["error_message"] == "Unrecognized requested action (DO_MAGIC)."
    assert "state" not in reply


def test_reply_carries_id_attempt_session_and_clock(bridge: Bridge) -> None:
    """So that it can be matched, and the terminal's clock be learnt."""
    reply = bridge.ask(action="PING", id="gw/p", attempt=3)

    assert ("gw/p", 3, "session-1", 1_000) == tuple(
        reply[key] for key in ("id", "attempt", "session", "clock_ms")
    )


# --- bridge keys --------------------------------------------------------------------------------

WRONG: list[tuple[str, Any]] = [
    ("id", "no-slash"),
    ("id", "a/" + "x" * 96),
    ("id", 7),
    ("attempt", 0),
    ("attempt", "1"),
    ("attempt", True),
    ("digest", "0" * 31),
    ("digest", "g" * 32),
    ("session", 1),
    ("epoch", "1"),
    ("seq", 1.5),
    ("ledger", None),
    ("not_after", "soon"),
    ("journal", None),
    ("journal", -1),
    ("journal", 2**53 + 1),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_badly_typed_key_is_fenced(bridge: Bridge, key: str, value: Any) -> None:
    """A trade is not run on guesses about who sent it."""
    assert fence(bridge.send(**{key: value})) == "bad_request"
    assert bridge.orders == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"session": "session-0"}, "stale_session"),
        ({"epoch": 0}, "stale_epoch"),
        ({"epoch": 2}, "stale_epoch"),
        ({"seq": 0}, "stale_seq"),
    ],
)
def test_stale_frame_is_fenced(bridge: Bridge, change: dict[str, Any], reason: str) -> None:
    """A frame for another start, another gateway or another moment runs nothing."""
    assert fence(bridge.send(**change)) == reason
    assert bridge.orders == 0


def test_repeated_seq_is_fenced(bridge: Bridge) -> None:
    """A frame delivered twice is acted on once."""
    bridge.send(seq=5)

    assert fence(bridge.send(id="me/2", seq=5)) == "stale_seq"


def test_older_modify_does_not_undo_a_newer_one(bridge: Bridge) -> None:
    """It was on its way over another connection and comes last."""
    ticket = bridge.send()["response"]["ticket"]
    modify = {"action": "DO_ORDER_MODIFY", "ticket": ticket}
    newer = bridge.frame(**modify, id="me/3", seq=9, sl=1.11)
    older = bridge.frame(**modify, id="me/2", seq=8, sl=1.10)

    assert newer["state"] == "done"
    assert fence(older) == "stale_seq"
    assert bridge.ask(action="GET_ORDER", ticket=ticket)["response"]["sl"] == 1.11


def test_claim_makes_the_gateway_before_it_stale(bridge: Bridge) -> None:
    """The new epoch is one higher and its frames are counted afresh."""
    bridge.send(seq=50)
    reply = bridge.ask(action="HELLO", id="gw/2", attempt=1, claim=True)

    assert reply["response"]["epoch"] == 2
    assert fence(bridge.send(epoch=1, seq=51)) == "stale_epoch"
    assert bridge.send(id="me/2", seq=1)["state"] == "done"


def test_hello_without_claim_issues_nothing(bridge: Bridge) -> None:
    """A look does not take over."""
    assert bridge.ask(action="HELLO", id="gw/2", attempt=1)["response"]["epoch"] == 1


def test_epoch_survives_a_restart(bridge: Bridge) -> None:
    """An older gateway stays fenced."""
    bridge.restart()

    assert bridge.ledger.epoch == 2


def test_other_ledger_is_in_doubt(bridge: Bridge) -> None:
    """What another ledger knows cannot be known here."""
    reply = bridge.send(ledger="another")

    assert (reply["state"], reply["evidence"]) == ("in_doubt", {"tickets": []})
    assert bridge.orders == 0


# --- what has run already -----------------------------------------------------------------------


def test_trade_runs_once_and_is_replayed(bridge: Bridge) -> None:
    """The same id gets the stored reply, whatever the attempt."""
    first, second = bridge.send(), bridge.send(attempt=2)

    assert (first["state"], first["replayed"], second["replayed"]) == ("done", False, True)
    assert first["response"] == second["response"]
    assert bridge.orders == 1


def test_same_id_with_another_digest_is_a_conflict(bridge: Bridge) -> None:
    """Two commands may not share a name."""
    bridge.send()

    assert fence(bridge.send(digest="1" * 32)) == "id_conflict"
    assert fence(bridge.resolve(digest="1" * 32)) == "id_conflict"


def test_resolve_tells_what_is_stored(bridge: Bridge) -> None:
    """The reply is the trade's own."""
    first, asked = bridge.send(), bridge.resolve()

    assert ("done", True) == (asked["state"], asked["replayed"])
    assert first["response"] == asked["response"]


def test_rejection_is_stored_for_good(bridge: Bridge) -> None:
    """A later attempt of the same id gets the same answer."""
    rejected = bridge.send(lots=1_000.0)
    bridge.platform.broker.deposit(1e9)

    assert (rejected["state"], rejected["error_code"]) == ("rejected", 131)
    assert bridge.send(lots=1_000.0, attempt=2)["state"] == "rejected"


def test_not_now_lets_a_higher_attempt_run(bridge: Bridge) -> None:
    """Nothing ran, so the same id may try again."""
    bridge.faults.add_spec("refuse:DO_ORDER_SEND:146:1")
    first, asked, second = bridge.send(), bridge.resolve(), bridge.send(attempt=2)

    assert ["not_now", "not_now", "done"] == [reply["state"] for reply in (first, asked, second)]
    assert first["error_code"] == asked["error_code"] == 146
    assert asked["replayed"]


def test_attempt_that_ended_not_now_is_stale(bridge: Bridge) -> None:
    """A delayed copy of it must not run."""
    bridge.faults.add_spec("refuse:DO_ORDER_SEND:138:1")
    bridge.send(attempt=2)

    assert fence(bridge.send(attempt=2)) == "stale_attempt"
    assert bridge.orders == 0


@pytest.mark.parametrize("code", [0, 2, 4, 6, 9, 128, 137, 139, 142, 143, 4999])
def test_ambiguous_code_is_in_doubt(bridge: Bridge, code: int) -> None:
    """The code is evidence, not proof, and the id does not run again."""
    bridge.faults.add_spec(f"refuse:DO_ORDER_SEND:{code}:1")
    reply = bridge.send()

    assert (reply["state"], reply["evidence"]["code"]) == ("in_doubt", code)
    assert bridge.send(attempt=2)["state"] == "in_doubt"
    assert bridge.orders == 0


def test_doubt_ends_when_the_order_shows(bridge: Bridge) -> None:
    """A timeout whose order opens later is found by its token."""
    bridge.faults.add_spec("latent:DO_ORDER_SEND:128:1:5s")
    bridge.send()
    before = bridge.resolve()
    bridge.latent.pop()()
    after = bridge.resolve()

    assert (before["state"], after["state"], after["replayed"]) == ("in_doubt", "done", True)
    assert after["response"]["comment"] == SEND["comment"]


# --- crashes between intent and result ----------------------------------------------------------


@pytest.mark.parametrize("asked", ["resolve", "send"])
def test_crash_after_the_broker_is_done(bridge: Bridge, asked: str) -> None:
    """The order is found by its token, and no second one opens."""
    bridge.faults.add_spec("die:DO_ORDER_SEND:after_broker:1")
    bridge.crash()
    reply = bridge.resolve() if asked == "resolve" else bridge.send(attempt=2)

    assert (reply["state"], reply["replayed"], bridge.orders) == ("done", True, 1)


def test_crash_before_the_broker_is_in_doubt(bridge: Bridge) -> None:
    """From inside, it cannot be told from an order that has not shown yet."""
    bridge.faults.add_spec("die:DO_ORDER_SEND:before_broker:1")
    bridge.crash()

    assert bridge.resolve()["state"] == "in_doubt"
    assert bridge.send(attempt=2)["state"] == "in_doubt"
    assert bridge.orders == 0


def test_crash_before_the_intent_leaves_no_trace(bridge: Bridge) -> None:
    """The command may run."""
    bridge.faults.add_spec("die:DO_ORDER_SEND:before_ledger:1")
    bridge.crash()

    assert bridge.resolve()["state"] == "not_seen"
    assert bridge.send()["state"] == "done"


def test_crash_before_the_reply_is_replayed(bridge: Bridge) -> None:
    """The result was stored first."""
    bridge.faults.add_spec("die:DO_ORDER_SEND:before_reply:1")
    bridge.crash()

    assert bridge.resolve()["state"] == "done"


def test_interrupted_close_is_in_doubt(bridge: Bridge) -> None:
    """A close leaves no token to look for."""
    ticket = bridge.send()["response"]["ticket"]
    bridge.faults.add_spec("die:DO_ORDER_CLOSE:after_broker:1")
    bridge.crash(action="DO_ORDER_CLOSE", id="me/2", ticket=ticket)

    assert bridge.resolve("me/2")["state"] == "in_doubt"


# --- deadline -----------------------------------------------------------------------------------


def test_late_trade_is_sealed(bridge: Bridge) -> None:
    """Past its deadline it never ran and never will."""
    bridge.clock_ms = 60_001
    reply = bridge.send()
    bridge.clock_ms = 0

    assert reply["state"] == "sealed"
    assert bridge.send(attempt=2)["state"] == "sealed"
    assert bridge.orders == 0


def test_deadline_itself_is_in_time(bridge: Bridge) -> None:
    """Only a clock above `not_after` is late."""
    bridge.clock_ms = 60_000

    assert bridge.send()["state"] == "done"


def test_resolve_seals_what_is_late(bridge: Bridge) -> None:
    """Asking late makes 'not executed' final; asking early does not."""
    assert bridge.resolve()["state"] == "not_seen"
    bridge.clock_ms = 60_001
    assert bridge.resolve()["state"] == "sealed"

    assert bridge.send(not_after=99_000)["state"] == "sealed"


def test_seal_outlives_a_restart(bridge: Bridge) -> None:
    """It is in the ledger before it is answered."""
    bridge.clock_ms = 60_001
    bridge.resolve()
    bridge.restart()

    assert bridge.resolve(not_after=99_000)["state"] == "sealed"


def test_deadline_passing_while_the_intent_is_written_seals(bridge: Bridge) -> None:
    """The clock is checked once more right before the trade call."""
    clock = iter([1_000, 60_001, 60_002])
    bridge.program._decision._clock_ms = lambda: next(clock)

    assert bridge.send()["state"] == "sealed"
    assert bridge.orders == 0


def test_late_not_now_is_sealed(bridge: Bridge) -> None:
    """A command that could have tried again no longer can."""
    bridge.faults.add_spec("refuse:DO_ORDER_SEND:146:1")
    bridge.send()
    bridge.clock_ms = 60_001

    assert bridge.resolve()["state"] == "sealed"


# --- permissions --------------------------------------------------------------------------------


def test_experts_switched_off_is_a_rejection(bridge: Bridge) -> None:
    """4109, known before anything ran."""
    bridge.platform.is_trade_allowed = False
    reply = bridge.send()

    assert (reply["state"], reply["error_code"]) == ("rejected", 4109)


@pytest.mark.parametrize(("switch", "code"), [("is_connected", 6), ("is_context_busy", 146)])
def test_trouble_that_passes_is_not_now(bridge: Bridge, switch: str, code: int) -> None:
    """Found out before the trade call, so nothing ran."""
    setattr(bridge.platform, switch, switch == "is_context_busy")
    reply = bridge.send()

    assert (reply["state"], reply["error_code"]) == ("not_now", code)


# --- safe mode ----------------------------------------------------------------------------------


def test_safe_mode_runs_no_trade(bridge: Bridge) -> None:
    """A trade is fenced, a question is in doubt."""
    bridge.ledger.safe_mode = "damaged"

    assert fence(bridge.send()) == "safe_mode"
    assert bridge.resolve()["state"] == "in_doubt"


def test_safe_mode_still_tells_what_it_knows(bridge: Bridge) -> None:
    """Intact lines are answered."""
    bridge.send()
    bridge.ledger.safe_mode = "damaged"

    assert bridge.resolve()["state"] == "done"


def test_intent_that_cannot_be_written_stops_the_trade(bridge: Bridge) -> None:
    """Without the line before, there is no trade."""
    bridge.faults.add_spec("ledger:DO_ORDER_SEND:1")

    assert fence(bridge.send()) == "safe_mode"
    assert bridge.orders == 0


def test_result_that_cannot_be_written_is_still_told(bridge: Bridge) -> None:
    """What happened happened; after a restart the token proves it."""
    writes = iter([False, True, True, True])
    bridge.ledger.write_fault = lambda: next(writes)

    assert bridge.send()["state"] == "done"
    assert bridge.ledger.safe_mode is not None
    bridge.restart()
    assert bridge.resolve()["state"] == "done"


def test_seal_that_cannot_be_written_is_not_promised(bridge: Bridge) -> None:
    """A restart would forget it, and the command could run."""
    bridge.ledger.write_fault = lambda: True
    bridge.clock_ms = 60_001

    assert bridge.resolve()["state"] == "in_doubt"
    assert bridge.resolve()["state"] == "in_doubt"


def test_claim_that_cannot_be_written_is_refused(bridge: Bridge) -> None:
    """An epoch that a crash forgets would be issued twice."""
    bridge.ledger.write_fault = lambda: True
    reply = bridge.ask(action="HELLO", id="gw/2", attempt=1, claim=True)

    assert reply["error_message"].startswith("The epoch could not be stored")


# --- plain clients ------------------------------------------------------------------------------

PLAIN = [
    (PlainClients.OFF, "GET_ORDERS", False),
    (PlainClients.OFF, "DO_ORDER_SEND", False),
    (PlainClients.READ, "GET_ORDERS", True),
    (PlainClients.READ, "DO_ORDER_SEND", False),
    (PlainClients.TRADE, "GET_ORDERS", True),
    (PlainClients.TRADE, "DO_ORDER_SEND", True),
]


@pytest.mark.parametrize(("allowed", "action", "passes"), PLAIN)
def test_plain_clients_do_what_the_input_allows(
    tmp_path: Path, allowed: PlainClients, action: str, *, passes: bool
) -> None:
    """A client without id and epoch is one of the existing server's."""
    bridge = Bridge(tmp_path / "ledger.txt", plain_clients=allowed, claim=False)
    order = {"symbol": "EURUSD", "order_type": 0, "lots": 0.1, "comment": ""}
    reply = bridge.ask(action=action, **order)
    bridge.ledger.close()

    assert passes is ("error_message" not in reply)
    assert passes or fence(reply) == "plain_clients"


def test_trading_plain_clients_exclude_a_gateway(tmp_path: Path) -> None:
    """Their orders have no id, so no gateway may rely on the ledger."""
    bridge = Bridge(tmp_path / "ledger.txt", plain_clients=PlainClients.TRADE, claim=False)
    reply = bridge.ask(action="HELLO", id="gw/1", attempt=1, claim=True)
    bridge.ledger.close()

    assert "Plain clients" in reply["error_message"]


# --- the ledger's lines -------------------------------------------------------------------------


def test_intent_is_written_before_the_trade_and_result_before_the_reply(bridge: Bridge) -> None:
    """In this order, each a line of its own."""
    bridge.send()
    lines = [json.loads(line[9:]) for line in bridge.path.read_text().splitlines()[2:]]

    assert [("started", 1, DIGEST), ("done", 1, DIGEST)] == [
        (line["kind"], line["attempt"], line["digest"]) for line in lines
    ]
    assert lines[0]["token"] == SEND["comment"][:14]
    assert lines[1]["reply"].keys() == {"response"}


def test_read_leaves_no_line(bridge: Bridge) -> None:
    """Only trades and seals are remembered."""
    before = bridge.path.read_bytes()
    bridge.ask(action="GET_ORDERS", id="gw/1", attempt=1)
    bridge.resolve()

    assert before == bridge.path.read_bytes()
    assert EntryKind.SEALED not in {entry.kind for entry in bridge.ledger.entries.values()}
