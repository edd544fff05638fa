"""Who goes next: priority between lanes, fairness between the clients of one lane.

Risk-reducing trades go before other trades, trades before reads, reads before polling. In a
lane each client gets one turn after the other, so that one client's flood delays only itself.
A full lane says *busy* at once. While a trade is in doubt no other trade is handed out.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from gateway.core.messages import Lane

Item = TypeVar("Item")

_TRADE_LANES = frozenset({Lane.REDUCE, Lane.TRADE})


class Lanes(Generic[Item]):
    """Bounded priority queues, one per lane, round robin over clients.

    Args:
        capacity: How many items may wait per lane.
    """

    def __init__(self, capacity: Mapping[Lane, int]) -> None:
        self.capacity = dict(capacity)
        self.trades_held = False
        self._clients: dict[Lane, OrderedDict[str, deque[Item]]] = {
            lane: OrderedDict() for lane in Lane
        }
        self._depth = dict.fromkeys(Lane, 0)

    def depth(self, lane: Lane) -> int:
        """Count what waits in one lane."""
        return self._depth[lane]

    def put(self, lane: Lane, client: str, item: Item) -> bool:
        """Queue an item; False when the lane is full, and then nothing was queued."""
        if self._depth[lane] >= self.capacity[lane]:
            return False
        self._clients[lane].setdefault(client, deque()).append(item)
        self._depth[lane] += 1
        return True

    def put_back(self, lane: Lane, client: str, item: Item) -> None:
        """Queue an item that was taken before, ahead of its client's others; never refused."""
        self._clients[lane].setdefault(client, deque()).appendleft(item)
        self._depth[lane] += 1

    def take(self) -> Item | None:
        """Hand out the item whose turn it is; None when nothing may go."""
        for lane, clients in self._clients.items():
            if clients and not (self.trades_held and lane in _TRADE_LANES):
                client, waiting = clients.popitem(last=False)
                item = waiting.popleft()
                if waiting:
                    clients[client] = waiting  # to the end of the round
                self._depth[lane] -= 1
                return item
        return None

    def remove_where(self, unwanted: Callable[[Item], bool]) -> list[Item]:
        """Take out every item for which `unwanted` holds, in queue order."""
        removed: list[Item] = []
        for lane, clients in self._clients.items():
            for client, waiting in list(clients.items()):
                gone = [item for item in waiting if unwanted(item)]
                if not gone:
                    continue
                removed += gone
                self._depth[lane] -= len(gone)
                kept = deque(item for item in waiting if not unwanted(item))
                if kept:
                    clients[client] = kept
                else:
                    del clients[client]
        return removed
