"""Each hazard of the existing server has a test that would see it: the list, and what was missing.

HAZARDS numbers what is known to go wrong with that server; DOCUMENTED has what
docs/existing-server.md promises to do about it, by the rows of its table.
"""

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.client import Outcome
from gateway.sim.orders import OrderType
from tests.support.nats_server import NatsServer
from tests.support.stack import EXISTING_SERVER, Stack, eventually

ROOT = Path(__file__).resolve().parents[2]

HAZARDS: dict[str, tuple[str, ...]] = {
    "1 a repeated order opens another one": (
        "tests/stack/test_commands.py::test_repeated_id_gets_the_stored_result",
        "tests/actions/test_screening.py::test_same_id_while_its_rules_are_looked_up_runs_once",
        "tests/faults/test_many_orders.py::test_existing_server_never_opens_an_order_twice",
    ),
    "2 abandoned requests still execute": (
        "tests/actions/test_hazards.py::test_timed_out_order_is_not_sent_again",
        "tests/core/test_exchange_table.py::"
        "test_nothing_is_sent_behind_a_silent_trade_at_the_existing_server",
    ),
    "3 offline queueing": (
        "tests/actions/test_hazards.py::test_order_is_not_queued_for_an_absent_terminal",
        "tests/stack/test_zeromq_facts.py::test_wire_refuses_to_send_to_an_absent_peer",
    ),
    "4 a query after a reconnect overtakes the stale order": (
        "tests/core/test_exchange_table.py::"
        "test_the_existing_server_is_probed_and_given_time_before_the_search",
        "tests/stack/test_recovery.py::test_terminal_restarts_under_load",
    ),
    "5 dropped replies are invisible to the server": (
        "tests/stack/test_commands.py::test_existing_server_is_searched_after_a_missing_reply",
    ),
    "6 multipart requests": (
        "tests/actions/test_hazards.py::test_requests_are_one_frame_each",
        "tests/sim/test_legacy.py::test_second_frame_is_executed_as_a_request_of_its_own",
    ),
    "7 late replies are paired with the wrong request, or thrown away": (
        "tests/stack/test_zeromq_facts.py::test_late_reply_reaches_the_line_with_its_correlation",
        "tests/core/test_exchange_table.py::test_a_late_reply_is_the_proof_at_the_existing_server",
    ),
    "8 an indicator's 0.0 is not recognized": (
        "tests/actions/test_table.py::test_action",  # RUN_INDICATOR-value 0
        "tests/sim/test_legacy.py::test_indicator_with_the_value_zero_is_not_recognized",
    ),
    "9 a stale last error": (
        "tests/actions/test_hazards.py::test_somebody_elses_error_code_is_no_value",
    ),
    "10 zero divide kills the script": (
        "tests/actions/test_screening.py::test_symbol_without_data_is_not_traded",
    ),
    "11 long replies take long": (
        "tests/actions/test_hazards.py::test_reply_that_the_bus_cannot_carry_is_told",
        "tests/actions/test_table.py::test_action",  # GET_OHLCV-too many bars
    ),
    "12 prices are not normalized": (
        "tests/actions/test_symbols.py::test_what_passes_is_not_nudged",
        "tests/actions/test_table.py::test_action",  # DO_ORDER_SEND-price off tick
    ),
    "13 anyone who can reach the port can trade": (
        "tests/stack/test_commands.py::test_trading_is_off_until_configured",
    ),
    "14 somebody else trades, too": (
        "tests/actions/test_hazards.py::test_orders_of_others_are_not_taken_for_ours",
    ),
}


TABLE = "tests/actions/test_table.py::test_action"
REPLIES = "tests/actions/test_replies.py"
EXCHANGE = "tests/core/test_exchange_table.py"
DOCUMENTED: dict[str, tuple[str, ...]] = {
    "A repeated `DO_ORDER_SEND`": HAZARDS["1 a repeated order opens another one"],
    "A request whose sender has given up": HAZARDS["2 abandoned requests still execute"],
    "A wrong type is not an error": (
        "tests/actions/test_bad_input.py::test_no_bad_body_gets_through",
        "tests/sim/test_legacy.py::test_order_type_is_coerced",
        "tests/sim/test_legacy.py::test_truncated_order_is_traded",
    ),
    "Lots are rounded to the step": (
        "tests/actions/test_symbols.py::test_what_passes_is_not_nudged",
        "tests/actions/test_symbols.py::test_lots_that_pass_are_not_rounded",
        "tests/sim/test_legacy.py::test_wrong_side_stops_are_nudged_to_three_points",
    ),
    "A modify takes a pending order's expiration away": (TABLE,),  # with and without allow_nudge
    "Empty lists come without a `response`": (
        f"{REPLIES}::test_missing_list_is_empty",
        f"{REPLIES}::test_null_texts_are_empty",
    ),
    "`RUN_INDICATOR` calls an indicator unknown": HAZARDS["8 an indicator's 0.0 is not recognized"],
    "Bars and indicators keep the server from everything": (TABLE,),  # a timeout of 60 s
    "An error may hide a live order": (
        f"{EXCHANGE}::test_an_error_that_admits_an_order_is_searched_for_at_once",
        f"{REPLIES}::test_every_error_path_of_the_existing_server",
    ),
    "With a second request waiting": HAZARDS["2 abandoned requests still execute"],
    "A modify that changes nothing fails with code 1": (
        f"{REPLIES}::test_every_error_path_of_the_existing_server",
        "tests/sim/test_legacy.py::test_repeated_modify_is_error_1",
    ),
    "`sl: 0`, `magic_number` and `expiration` are ignored": (TABLE,),
    "Non-ASCII text can cut a reply short": (
        "tests/sim/test_legacy.py::test_non_ascii_reply_is_cut_short",
        f"{EXCHANGE}::test_a_malformed_reply_of_the_existing_server_is_searched_for",
    ),
}


def test_every_documented_hazard_is_listed() -> None:
    """Row by row: a promise that is added to the page needs its test."""
    page = (ROOT / "docs/existing-server.md").read_text(encoding="utf-8")
    table = page.partition("\n## What the server does")[2].partition("\n## ")[0]
    rows = [row.removeprefix("| ") for row in table.splitlines() if row.startswith("| ")][1:]

    assert len(DOCUMENTED) == len(rows)
    for row, start in zip(rows, DOCUMENTED, strict=True):
        assert row.startswith(start)


@pytest.mark.parametrize("hazard", [*HAZARDS, *DOCUMENTED])
def test_hazard_has_its_tests(hazard: str) -> None:
    """The tests that are named do exist."""
    for name in (HAZARDS | DOCUMENTED)[hazard]:
        path, _, function = name.partition("::")
        source = (ROOT / path).read_text(encoding="utf-8")

        assert re.search(rf"^(async )?def {function}\(", source, re.MULTILINE), name


async def test_timed_out_order_is_not_sent_again(nats_server: NatsServer) -> None:
    """Hazard 2: a busy server still executes what nobody waits for any more."""
    async with Stack(nats_server.url, EXISTING_SERVER) as stack:
        stack.terminal.faults.add_spec("delay:DO_ORDER_SEND:1:600ms")
        result = await stack.buy(timeout_s=5.0)

        assert result.succeeded
        assert 1 == result.attempts
        assert 1 == len(stack.terminal.broker.orders)


async def test_order_is_not_queued_for_an_absent_terminal(nats_server: NatsServer) -> None:
    """Hazard 3: nothing runs when the terminal comes back after the deadline."""
    async with Stack(nats_server.url, EXISTING_SERVER) as stack:
        await stack.buy()
        await stack.terminal.kill()
        await eventually(lambda: not stack.app.line.is_linked)  # else it may be under way to it
        result = await stack.buy(timeout_s=0.6)
        await stack.terminal.start()
        async with asyncio.timeout(10):
            await stack.client.query("GET_ORDERS")

        assert Outcome.EXPIRED == result.outcome
        assert 1 == len(stack.terminal.broker.orders)


async def test_requests_are_one_frame_each(nats_server: NatsServer) -> None:
    """Hazard 6: whatever a client writes into a comment, the server sees one request."""
    async with Stack(nats_server.url, EXISTING_SERVER) as stack:
        before = len(stack.terminal.truth.of("received"))
        await stack.buy(comment='"}{"action":"GET')
        names = [fact["action"] for fact in stack.terminal.truth.of("received")[before:]]

        assert 1 == names.count("DO_ORDER_SEND")
        assert "GET" not in names


async def test_reply_that_the_bus_cannot_carry_is_told(nats_server: NatsServer) -> None:
    """Hazard 11: a history longer than NATS takes is no empty history, and nobody waits for it."""
    async with Stack(nats_server.url, EXISTING_SERVER) as stack:
        history = stack.terminal.broker.history
        history.extend(replace(history[0], ticket=5000 + n) for n in range(4000))
        result = await stack.client.query("GET_HISTORICAL_ORDERS")

        assert Outcome.REJECTED == result.outcome
        assert 413 == (result.error or {})["code"]
        assert (await stack.client.query("GET_ORDERS")).succeeded


async def test_somebody_elses_error_code_is_no_value(nats_server: NatsServer) -> None:
    """Hazard 9: what an earlier request left behind fails an indicator; it is an error, not 0."""
    average = {"indicator": "iMA", "argv": ["EURUSD", "H1", 14, 0, 0, 0, 0], "timeout": 500}
    async with Stack(nats_server.url, EXISTING_SERVER) as stack:
        await stack.client.query("GET_ORDER", {"ticket": 99})
        first = await stack.client.query("RUN_INDICATOR", average)
        second = await stack.client.query("RUN_INDICATOR", average)

        assert Outcome.REJECTED == first.outcome
        assert second.succeeded


async def test_orders_of_others_are_not_taken_for_ours(nats_server: NatsServer) -> None:
    """Hazard 14: an order that appears at the same time is no proof; only the token is."""
    async with Stack(nats_server.url, EXISTING_SERVER) as stack:
        await stack.client.query("GET_SYMBOL_TICK", {"symbol": "EURUSD"})
        stack.terminal.faults.add_spec("lose:DO_ORDER_SEND:1")
        waiting = asyncio.create_task(stack.buy(0.3, timeout_s=10.0))
        broker = stack.terminal.broker
        ask = broker.quotes["EURUSD"].ask
        broker.order_send("EURUSD", OrderType.BUY, 0.3, ask, 100, comment="somebody else's")
        result = await waiting

        assert Outcome.UNKNOWN == result.outcome
        assert 1 == len(broker.orders)
