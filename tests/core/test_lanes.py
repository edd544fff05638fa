"""Who goes next: `gateway/core/lanes.py`."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from gateway.core.lanes import Lanes
from gateway.core.messages import Lane

CAPACITY = {Lane.RESUME: 0, Lane.REDUCE: 2, Lane.TRADE: 4, Lane.READ: 4, Lane.POLL: 1}


def lanes_with(*items: tuple[Lane, str, str]) -> Lanes[str]:
    """Return lanes in which these wait."""
    lanes: Lanes[str] = Lanes(dict.fromkeys(Lane, 10))
    for lane, client, item in items:
        lanes.put(lane, client, item)
    return lanes


def all_of(lanes: Lanes[str]) -> list[str]:
    """Take until nothing may go."""
    return list(iter(lanes.take, None))


def test_lanes_go_in_order_of_priority() -> None:
    """What reduces risk first, what polls last, and what has begun before all."""
    lanes = lanes_with(*((lane, "me", lane.label) for lane in reversed(Lane)))

    assert ["resume", "reduce", "trade", "read", "poll"] == all_of(lanes)


def test_clients_of_a_lane_take_turns() -> None:
    """A flood of one client delays only itself."""
    flood = [(Lane.READ, "ann", f"a{number}") for number in range(3)]
    lanes = lanes_with(*flood, (Lane.READ, "bob", "b0"), (Lane.READ, "bob", "b1"))

    assert ["a0", "b0", "a1", "b1", "a2"] == all_of(lanes)


def test_a_client_that_comes_back_joins_the_end_of_the_round() -> None:
    """Being alone for a moment gives no right to the next turn."""
    lanes = lanes_with((Lane.READ, "ann", "a0"), (Lane.READ, "bob", "b0"), (Lane.READ, "eve", "e0"))
    first = lanes.take()
    lanes.put(Lane.READ, "ann", "a1")

    assert ["a0", "b0", "e0", "a1"] == [first, *all_of(lanes)]


def test_one_client_is_served_first_come_first() -> None:
    """Its own order is kept."""
    lanes = lanes_with(*((Lane.TRADE, "me", str(number)) for number in range(3)))

    assert ["0", "1", "2"] == all_of(lanes)


def test_a_full_lane_says_so_and_queues_nothing() -> None:
    """The others have room still."""
    lanes: Lanes[str] = Lanes(dict.fromkeys(Lane, 1))

    assert lanes.put(Lane.READ, "ann", "a")
    assert not lanes.put(Lane.READ, "bob", "b")
    assert lanes.put(Lane.TRADE, "bob", "c")
    assert (1, 1) == (lanes.depth(Lane.READ), lanes.depth(Lane.TRADE))


def test_what_was_taken_can_always_be_put_back_and_goes_before_its_clients_others() -> None:
    """A full lane cannot lose a command that has begun."""
    lanes: Lanes[str] = Lanes(dict.fromkeys(Lane, 2))
    lanes.put(Lane.TRADE, "me", "first")
    lanes.put(Lane.TRADE, "me", "second")
    taken = lanes.take()
    lanes.put(Lane.TRADE, "me", "third")
    lanes.put_back(Lane.TRADE, "me", str(taken))

    assert 3 == lanes.depth(Lane.TRADE)
    assert ["first", "second", "third"] == all_of(lanes)


def test_held_trades_wait_while_reads_and_the_trade_in_doubt_go() -> None:
    """While one trade is in doubt no other is handed out."""
    lanes = lanes_with(*((lane, "me", lane.label) for lane in Lane))
    lanes.trades_held = True

    assert ["resume", "read", "poll"] == all_of(lanes)

    lanes.trades_held = False

    assert ["reduce", "trade"] == all_of(lanes)


def test_unwanted_items_are_taken_out_and_the_rest_keeps_its_order() -> None:
    """Expired commands leave from the middle."""
    lanes = lanes_with(*((Lane.READ, "ann", f"a{number}") for number in range(4)))
    lanes.put(Lane.READ, "bob", "b")

    assert ["a1", "a2"] == lanes.remove_where(lambda item: item in ("a1", "a2"))
    assert 3 == lanes.depth(Lane.READ)
    assert ["a0", "b", "a3"] == all_of(lanes)


def test_a_client_without_items_is_forgotten() -> None:
    """A gateway that serves a million inboxes keeps none of them."""
    lanes = lanes_with((Lane.READ, "ann", "a"), (Lane.READ, "bob", "b"))
    lanes.remove_where(lambda item: item == "a")
    all_of(lanes)

    assert not any(lanes._clients.values())


@pytest.mark.parametrize("lane", Lane)
def test_empty_lanes_hand_out_nothing(lane: Lane) -> None:
    """None is an answer."""
    lanes: Lanes[str] = Lanes(CAPACITY)

    assert (None, 0) == (lanes.take(), lanes.depth(lane))


CLIENTS = st.sampled_from(["ann", "bob", "eve"])


class LanesMachine(RuleBasedStateMachine):
    """Against a list of what waits: nothing is lost, doubled, or kept waiting unfairly."""

    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.lanes: Lanes[int] = Lanes(CAPACITY)
        self.waiting: dict[int, tuple[Lane, str]] = {}
        self.overtaken: dict[int, Counter[str]] = {}
        self.next_item = 0

    @rule(lane=st.sampled_from(Lane), client=CLIENTS)
    def put(self, lane: Lane, client: str) -> None:
        is_full = self._depth(lane) >= CAPACITY[lane]
        assert self.lanes.put(lane, client, self.next_item) is not is_full
        if not is_full:
            self.waiting[self.next_item] = lane, client
            self.next_item += 1

    @rule(target=taken)
    def take(self) -> object:
        item = self.lanes.take()
        going = {lane for lane, _ in self.waiting.values()}
        if self.lanes.trades_held:
            going -= {Lane.REDUCE, Lane.TRADE}
        if item is None:
            assert not going
            return multiple()
        lane, client = self.waiting[item]
        assert min(going) is lane
        assert item == self._heads(lane)[client]
        self._count_turn(lane, client)
        del self.waiting[item]
        self.overtaken.pop(item, None)
        return item, lane, client

    @rule(item=consumes(taken))
    def put_back(self, item: tuple[int, Lane, str]) -> None:
        number, lane, client = item
        self.lanes.put_back(lane, client, number)
        self.waiting = {number: (lane, client), **self.waiting}
        self.overtaken.clear()  # a client's first item is another now

    @rule(divisor=st.integers(2, 4))
    def remove(self, divisor: int) -> None:
        expected = {item for item in self.waiting if item % divisor == 0}
        removed = self.lanes.remove_where(lambda item: item % divisor == 0)
        assert sorted(expected) == sorted(removed)
        for item in removed:
            del self.waiting[item]
        self.overtaken.clear()

    @rule(held=st.booleans())
    def hold(self, held: bool) -> None:
        self.lanes.trades_held = held

    @invariant()
    def depths_are_right(self) -> None:
        assert [self._depth(lane) for lane in Lane] == [self.lanes.depth(lane) for lane in Lane]

    def teardown(self) -> None:
        self.lanes.trades_held = False
        left = list(iter(self.lanes.take, None))
        assert sorted(self.waiting) == sorted(left)

    def _depth(self, lane: Lane) -> int:
        return sum(1 for one, _ in self.waiting.values() if one is lane)

    def _heads(self, lane: Lane) -> dict[str, int]:
        heads: dict[str, int] = {}
        for item, (one, client) in self.waiting.items():
            if one is lane:
                heads.setdefault(client, item)
        return heads

    def _count_turn(self, lane: Lane, client: str) -> None:
        """Let a client's first item wait for at most one item of each other client."""
        for other, head in self._heads(lane).items():
            if other != client:
                turns = self.overtaken.setdefault(head, Counter())
                turns[client] += 1
                assert turns[client] <= 1, f"{client} went twice before {other}"


TestLanes = LanesMachine.TestCase
TestLanes.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, database=None, derandomize=True
)
