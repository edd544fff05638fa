"""Records of the audit are bounded and can always be written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.audit import MOST_BYTES, MOST_CHARACTERS, MOST_STEPS, Audit, Steps
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
    text = json.dumps(written[0], allow_nan=False).encode()

    check("audit", json.loads(text))
    assert len(text) < 3 * MOST_BYTES
    assert MOST_CHARACTERS == len(written[0]["error"]["message"])


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
