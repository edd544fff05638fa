"""Random walks through the world: each seed is one schedule, the same every time."""

import random
import re
from collections.abc import Iterable

from gateway.core.messages import Dialect
from tests.core.model_terminal import BROKER_MOVES
from tests.core.promises import Violation
from tests.core.world import World

STEPS = 60

FAULTS = (
    "die",
    "reload",
    "cut",
    "refuse",
    "lose_request",
    "lose_reply",
    "repeat_reply",
    "garble_reply",
    "swap_replies",
    "kill_gateway",
    "depose_gateway",
)

WEIGHTS: dict[str, float] = {
    "take": 8,
    "hear": 8,
    "store": 8,
    "reply": 8,
    "connect": 6,
    "notice": 3,
    "restart": 3,
    "trade": 3,
    "tick": 3,
    "wait": 2,
    "read": 1,
    "repeat": 1,
    "conflict": 1,
    "close_orders": 1,
    "take_stale": 0.5,
    "latent_opens": 0.1,
    "latent_dropped": 0.1,
    "opens": 6,
    "rejects": 1,
    "busy": 1,
    "requote": 1,
    "opens_128": 1,
    "latent_128": 1,
    "no_128": 1,
    "opens_without_stops": 1,
}
"""How likely a move is beside others."""


def walk(
    seed: int,
    dialect: Dialect,
    *,
    mutations: Iterable[str] = (),
    faults: Iterable[str] = FAULTS,
    broker: Iterable[str] = BROKER_MOVES,
    trace: list[str] | None = None,
) -> World:
    """Walk one schedule to its end.

    Args:
        seed: Chooses everything: also which faults there are, for few faults often reach
            further than all of them.
        dialect: Which terminal there is.
        mutations: Protections of the model terminal to leave out.
        faults: The faults to choose from.
        broker: What the broker may make of a trade.
        trace: Is filled with the moves.

    Raises:
        Violation: A promise was broken.
    """
    chance = random.Random(seed)
    world = World(dialect, frozenset(mutations))
    allowed = {fault for fault in faults if chance.random() < 0.6}
    allowed |= {*broker, *(set(WEIGHTS) - {*BROKER_MOVES})}
    fault_rate = chance.choice((0.0, 0.03, 0.1, 0.25))

    async def schedule() -> None:
        try:
            if chance.random() < 0.8:  # most walks begin where it matters
                for move in ("connect 0", "take", "hear 0"):
                    await world.act(move)
            for _ in range(STEPS):
                move = _choose(world, chance, allowed, fault_rate)
                turns = None if chance.random() < 0.8 else chance.randint(0, 3)
                pick = chance.randint(0, 11)
                if trace is not None:
                    trace.append(f"{world.loop.time():8.3f} {move} turns={turns} pick={pick}")
                await world.act(move, turns, pick)
            await world.quiesce()
        finally:
            await world.close()

    try:
        world.loop.run_until_complete(schedule())
    finally:
        world.loop.close()
    return world


def _choose(world: World, chance: random.Random, allowed: set[str], fault_rate: float) -> str:
    kind: list[str] = []
    faulty: list[str] = []
    for move in world.moves():
        if _name(move) in allowed:
            (faulty if move.startswith("fault:") else kind).append(move)
    if faulty and chance.random() < fault_rate:
        return chance.choice(faulty)
    return chance.choices(kind, [WEIGHTS[_name(move)] for move in kind])[0]


def _name(move: str) -> str:
    return move.removeprefix("fault:").partition(" ")[0]


def first_violation(
    seeds: Iterable[int],
    dialect: Dialect,
    *,
    mutations: Iterable[str] = (),
    faults: Iterable[str] = FAULTS,
    like: str = "",
) -> str | None:
    """Walk until a promise breaks in a way that `like` matches; None when none does."""
    for seed in seeds:
        try:
            walk(seed, dialect, mutations=mutations, faults=faults)
        except Violation as violation:
            if re.search(like, str(violation)):
                return f"seed {seed}: {violation}"
    return None
