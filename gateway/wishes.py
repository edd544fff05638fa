"""A wish becomes a command: its action known, its parameters checked, its deadline set."""

from __future__ import annotations

from gateway.actions import ACTIONS, digest_of
from gateway.config import Commands as Settings
from gateway.core.messages import Command, CommandId, Effect, Wish
from gateway.errors import InvalidCommand


def command_of(
    wish: Wish,
    key: CommandId,
    settings: Settings,
    *,
    require_deadline: bool,
    received_s: float,
    received_at_s: float,
) -> Command:
    """Validate a wish.

    Args:
        wish: As it came.
        key: The id that it has, or was given.
        settings: How long a deadline may be, and what it is where none is given.
        require_deadline: The policy wants one of a trade.
        received_s: When it came, on the monotonic clock.
        received_at_s: The same, UTC.

    Raises:
        InvalidCommand: With every problem found.
    """
    if wish.problem is not None:
        raise InvalidCommand([wish.problem])
    action = ACTIONS.get(wish.action)
    if action is None or action.effect is not wish.effect:
        known = ", ".join(sorted(a.name for a in ACTIONS.values() if a.effect is wish.effect))
        raise InvalidCommand([f"{wish.action!r} is no {wish.effect} action; known: {known}"])
    params = action.validate(wish.params)
    if wish.deadline_at_s is not None:
        left_s = min(wish.deadline_at_s - received_at_s, settings.maximum_timeout_s)
    elif wish.effect is Effect.TRADE and require_deadline:
        raise InvalidCommand(
            ["deadline: missing; a trade needs one, for it may have been delayed on its way"]
        )
    else:
        left_s = settings.default_timeout_s
    work_s = action.work_s(params)
    if 0 < left_s < work_s:
        # The terminal would work for a caller who has gone, and for nobody else meanwhile.
        raise InvalidCommand(
            [f"timeout: {work_s * 1000:g} ms is more than the {left_s * 1000:.0f} ms left"]
        )
    return Command(
        key=key,
        asker=wish.asker,
        action=action.name,
        effect=action.effect,
        lane=action.lane,
        params=params,
        digest=digest_of(action.name, params) if action.effect is Effect.TRADE else "",
        received_s=received_s,
        received_at_s=received_at_s,
        deadline_s=received_s + left_s,
        trace=wish.trace,
        work_allowance_s=work_s,
    )
