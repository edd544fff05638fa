"""Records of the audit are bounded and can always be written."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from gateway.audit import MOST_BYTES, MOST_CHARACTERS, MOST_STEPS, Audit, Steps
from gateway.audit_chain import Chain, Findings, examine
from gateway.core.messages import (
    Cause,
    CommandId,
    Conclusion,
    Effect,
    Json,
    Outcome,
    Result,
    Source,
    Wish,
)
from gateway.policy_settings import Policy, PolicyInForce
from tests.support.schemas import check

LONG = "x" * 100_000


async def nothing(_: Result) -> None:
    """Answer nobody."""


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"symbol": LONG},
        {"lots": float("nan")},
        {"comment": b"\xff\x00"},
        {"a": [[[[["deep"]]]]]},
        {"half": "\ud800", "odd": "\u2028 Ä"},
    ],
    ids=["nothing", "long", "nan", "bytes", "deep", "half a character"],
)
async def test_whatever_was_asked_for_can_be_written(params: dict[str, Any]) -> None:
    """A denial is on record, however strange the wish was."""
    written: list[dict[str, Json]] = []

    async def publish(_: CommandId, record: dict[str, Json]) -> None:
        written.append(record)

    audit = Audit(publish, "host-1", lambda: 3, PolicyInForce(Policy()))
    cause = Cause(Source.GATEWAY, 400, "INVALID", LONG)
    result = Result(
        CommandId("me", "1"),
        "demo",
        "DO_ORDER_SEND",
        Conclusion(Outcome.DENIED, cause=cause, warning=LONG),
        *(0.0, 0.0, 0.0, 0.0),
    )
    await audit.denied(Wish("DO_ORDER_SEND", Effect.TRADE, "me", "me", nothing, params), result)
    text = Chain().written(written[0])

    check("audit", json.loads(text))
    assert len(text) < 3 * MOST_BYTES
    assert MOST_CHARACTERS == len(written[0]["error"]["message"])


def chained(count: int, gateway: str = "one") -> list[tuple[str, bytes]]:
    """Write some records, as one gateway does."""
    chain = Chain()
    return [
        (f"audit#{number}", chain.written({"gateway": gateway, "id": f"order-{number}"}))
        for number in range(count)
    ]


def test_changed_byte_breaks_the_chain() -> None:
    """Wherever it is, but in a gateway's newest record."""
    records = [*chained(10), *chained(10, "two")]
    assert Findings(records=20, gateways=2) == examine(records)
    dice = random.Random(1)
    for _ in range(1000):
        place = dice.choice([n for n in range(20) if n not in (9, 19)])
        source, body = records[place]
        spoiled = bytearray(body)
        spoiled[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
        changed = [*records[:place], (source, bytes(spoiled)), *records[place + 1 :]]

        assert not examine(changed).is_whole


def test_records_that_were_taken_out_are_missed() -> None:
    """Those in between; what is gone at the front has aged."""
    records = chained(10)

    assert 2 == examine([*records[:4], *records[6:]]).missing
    assert 6 == examine(records[6:]).missing
    assert examine(records[6:], have_aged=True).is_whole
    assert not examine([records[0], *records]).is_whole


def test_of_very_many_steps_the_first_and_the_last_stay() -> None:
    """How it began and how it ended is what explains it."""
    steps = Steps()
    for number in range(10 * MOST_STEPS):
        steps.note(float(number), f"step {number}")
    kept = [step["what"] for step in steps.body()]

    assert MOST_STEPS == len(kept)
    assert "step 0" == kept[0]
    assert f"step {10 * MOST_STEPS - 1}" == kept[-1]
    assert 9 * MOST_STEPS == steps.left_out
