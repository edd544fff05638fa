"""Ending for certain: Python 3.11's `wait_for`, which nats-py is built on, may swallow a cancel.

It does so when the answer comes in the same turn of the loop. A task that calls nats-py over and
over therefore looks for itself, once a round.
"""

from __future__ import annotations

import asyncio


def heed() -> None:
    """Raise the cancellation that was asked for, if it was swallowed.

    Raises:
        CancelledError: It was.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
