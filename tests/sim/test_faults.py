"""Faults: written plainly, decided by the seed."""

import pytest

from gateway.sim.faults import (
    ALWAYS,
    Fault,
    FaultKind,
    FaultPlan,
    FaultSpecError,
    Point,
    parse_fault,
)


def hits(spec: str, *, seed: int = 1, requests: int = 200) -> list[int]:
    """Return which of many DO_ORDER_SEND requests a fault strikes."""
    plan = FaultPlan(seed=seed)
    plan.add_spec(spec)
    return [number for number in range(1, requests + 1) if plan.strike("DO_ORDER_SEND")]


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("drop:DO_ORDER_SEND:0.1", Fault(FaultKind.DROP, "DO_ORDER_SEND", probability=0.1)),
        ("delay:*:0.05:700ms", Fault(FaultKind.DELAY, "*", probability=0.05, duration_s=0.7)),
        (
            "refuse:DO_ORDER_SEND:146:2",
            Fault(FaultKind.REFUSE, "DO_ORDER_SEND", numbers=range(1, 3), code=146),
        ),
        (
            "die:DO_ORDER_SEND:after_broker:1",
            Fault(FaultKind.DIE, "DO_ORDER_SEND", numbers=range(1, 2), point=Point.AFTER_BROKER),
        ),
        ("garble:GET_*:#3", Fault(FaultKind.GARBLE, "GET_*", numbers=range(3, 4))),
        (
            "latent:DO_ORDER_SEND:128:always:2s",
            Fault(FaultKind.LATENT, "DO_ORDER_SEND", numbers=ALWAYS, code=128, duration_s=2.0),
        ),
    ],
)
def test_spec_is_read(spec: str, fault: Fault) -> None:
    """Each part lands where it belongs."""
    assert fault == parse_fault(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "drop",
        "drop:DO_ORDER_SEND",
        "drop:*:0.1:700ms",
        "delay:*:0.1",
        "delay:*:0.1:700",
        "drop:*:1.5",
        "refuse:*:abc:1",
        "die:*:sometime:1",
        "explode:*:1",
        "drop:*:#x",
    ],
)
def test_bad_spec_is_refused_with_its_text(spec: str) -> None:
    """A fault that silently does nothing would make a test pass for nothing."""
    with pytest.raises(FaultSpecError, match=spec.split(":", maxsplit=1)[0]):
        parse_fault(spec)


def test_count_hits_the_first_requests() -> None:
    """`2` is the first two."""
    assert hits("drop:DO_ORDER_SEND:2") == [1, 2]


def test_number_hits_one_request() -> None:
    """`#3` is the third only."""
    assert hits("drop:DO_ORDER_SEND:#3") == [3]


def test_chance_is_decided_by_the_seed() -> None:
    """The same seed hits the same requests, another seed others, about as many as asked for."""
    assert hits("drop:*:0.1", seed=1) == hits("drop:*:0.1", seed=1)
    assert hits("drop:*:0.1", seed=1) != hits("drop:*:0.1", seed=2)
    assert 5 <= len(hits("drop:*:0.1")) <= 40


def test_faults_do_not_disturb_each_other() -> None:
    """Adding one leaves the requests that another hits as they are."""
    plan = FaultPlan(seed=1)
    first = plan.add_spec("drop:DO_ORDER_SEND:0.1")
    plan.add_spec("delay:*:0.5:1s")
    struck = [number for number in range(1, 201) if first in plan.strike("DO_ORDER_SEND")]

    assert hits("drop:DO_ORDER_SEND:0.1") == struck


def test_other_actions_do_not_count() -> None:
    """The third DO_ORDER_SEND is the third of its kind."""
    plan = FaultPlan()
    plan.add_spec("drop:DO_ORDER_SEND:#2")
    struck = [bool(plan.strike(action)) for action in ("DO_ORDER_SEND", "PING", "DO_ORDER_SEND")]

    assert [False, False, True] == struck
