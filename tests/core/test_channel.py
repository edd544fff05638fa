"""The lock-step, and whose reply is this: `gateway/core/channel.py`."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core import channel as module
from gateway.core.channel import Channel
from gateway.core.messages import Purpose, Request
from gateway.errors import LocalProtocolError

MAY_GO_BEHIND = [Purpose.RESOLVE, Purpose.PROBE, Purpose.HELLO]
MAY_NOT = [Purpose.COMMAND, Purpose.SEARCH]
every_purpose = pytest.mark.parametrize("purpose", Purpose)


def frame(purpose: Purpose = Purpose.COMMAND, name: str = "X") -> Request:
    """Return a request."""
    return Request(purpose, name, {})


@every_purpose
def test_anything_may_be_sent_on_a_free_line(purpose: Purpose) -> None:
    """Nothing unanswered: any purpose."""
    channel = Channel("a")

    assert channel.is_free
    assert channel.unanswered_since_s is None
    assert channel.may_send(purpose)


@pytest.mark.parametrize("purpose", MAY_GO_BEHIND)
def test_a_question_may_go_behind_an_unanswered_frame(purpose: Purpose) -> None:
    """RESOLVE, HELLO and probes."""
    channel = Channel("a")
    channel.begin(frame(), 0.0)

    assert channel.may_send(purpose)


@pytest.mark.parametrize("purpose", MAY_NOT)
def test_no_command_goes_behind_an_unanswered_frame(purpose: Purpose) -> None:
    """The existing server would lose the first one's reply; order would be lost."""
    channel = Channel("a")
    channel.begin(frame(Purpose.PROBE), 0.0)

    assert not channel.may_send(purpose)
    with pytest.raises(LocalProtocolError):
        channel.begin(frame(purpose), 1.0)


def test_only_two_questions_go_behind() -> None:
    """The first one's answer may be lost as well; the third would be noise."""
    channel = Channel("a")
    for purpose in (Purpose.COMMAND, Purpose.RESOLVE, Purpose.PROBE):
        channel.begin(frame(purpose), 0.0)

    assert not channel.may_send(Purpose.PROBE)


def test_a_reply_is_given_to_its_own_request() -> None:
    """With how long it took."""
    channel = Channel("a")
    request = frame()
    correlation = channel.begin(request, 1.0)
    received = channel.receive(correlation, 3.5)

    assert received is not None
    assert (2.5, False) == (received.took_s, received.late)
    assert received.request is request
    assert channel.is_free


def test_a_reply_is_matched_once() -> None:
    """A repeated reply belongs to nobody."""
    channel = Channel("a")
    correlation = channel.begin(frame(), 0.0)
    channel.receive(correlation, 1.0)

    assert None is channel.receive(correlation, 2.0)


@pytest.mark.parametrize("stranger", [b"", b"b-1", b"a-2", b"\xff", b"a-1 "])
def test_a_reply_to_nothing_of_ours_is_nobodys(stranger: bytes) -> None:
    """Also one to a frame of an earlier process: its instance differs."""
    channel = Channel("a")
    channel.begin(frame(), 0.0)

    assert None is channel.receive(stranger, 1.0)
    assert not channel.is_free


def test_a_reply_to_a_later_frame_frees_the_line() -> None:
    """The terminal works in order, so the earlier ones are consumed; their replies are lost."""
    channel = Channel("a")
    command = channel.begin(frame(), 0.0)
    channel.begin(frame(Purpose.PROBE), 1.0)
    second = channel.begin(frame(Purpose.PROBE), 2.0)
    channel.receive(second, 3.0)

    assert channel.is_free

    late = channel.receive(command, 4.0)

    assert late is not None
    assert (4.0, True) == (late.took_s, late.late)


def test_a_reply_to_an_earlier_frame_leaves_the_later_ones() -> None:
    """They are still on their way."""
    channel = Channel("a")
    command = channel.begin(frame(), 0.0)
    channel.begin(frame(Purpose.RESOLVE), 1.0)
    channel.receive(command, 2.0)

    assert not channel.is_free
    assert 1.0 == channel.unanswered_since_s


def test_what_was_lost_with_the_link_is_still_found_by_its_reply() -> None:
    """A late reply is evidence."""
    channel = Channel("a")
    request = frame()
    correlation = channel.begin(request, 0.0)
    channel.lose()

    assert channel.is_free

    late = channel.receive(correlation, 9.0)

    assert late is not None
    assert late.late
    assert late.request is request


def test_a_refused_frame_never_was() -> None:
    """The socket did not take it, so there will be no reply."""
    channel = Channel("a")
    correlation = channel.begin(frame(), 0.0)
    channel.withdraw(correlation)

    assert channel.is_free
    assert None is channel.receive(correlation, 1.0)


def test_correlations_are_short_and_never_the_same() -> None:
    """At most 32 bytes, also after a long time."""
    channel = Channel("0123abcd")
    seen = set()
    for _ in range(1000):
        seen.add(channel.begin(frame(), 0.0))
        channel.lose()
    channel._frames_sent = 2**63

    assert 1000 == len(seen)
    assert 32 >= len(channel.begin(frame(), 0.0))


def test_abandoned_frames_are_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first."""
    monkeypatch.setattr(module, "REMEMBERED", 2)
    channel = Channel("a")
    sent = []
    for _ in range(3):
        sent.append(channel.begin(frame(), 0.0))
        channel.lose()

    assert [False, True, True] == [channel.receive(one, 1.0) is not None for one in sent]


class ChannelMachine(RuleBasedStateMachine):
    """Against a list of what is out: one command at a time, each reply once, nothing lost."""

    def __init__(self) -> None:
        super().__init__()
        self.channel = Channel("a")
        self.now_s = 0.0
        self.open: list[bytes] = []
        self.sent: dict[bytes, Request] = {}
        self.answered: set[bytes] = set()

    @rule(purpose=st.sampled_from(Purpose))
    def send(self, purpose: Purpose) -> None:
        is_allowed = not self.open or (purpose in MAY_GO_BEHIND and len(self.open) <= 2)
        assert is_allowed is self.channel.may_send(purpose)
        if is_allowed:
            request = frame(purpose, str(len(self.sent)))
            correlation = self.channel.begin(request, self.now_s)
            assert correlation not in self.sent
            self.sent[correlation] = request
            self.open.append(correlation)

    @precondition(lambda self: self.sent)
    @rule(choice=st.integers(0, 50))
    def reply(self, choice: int) -> None:
        correlation = list(self.sent)[choice % len(self.sent)]
        received = self.channel.receive(correlation, self.now_s)
        if correlation in self.answered:
            assert received is None
            return
        assert received is not None
        assert received.request is self.sent[correlation]
        assert received.late is (correlation not in self.open)
        self.answered.add(correlation)
        if correlation in self.open:
            del self.open[: self.open.index(correlation) + 1]

    @precondition(lambda self: self.open)
    @rule()
    def refuse(self) -> None:
        correlation = self.open.pop()
        self.channel.withdraw(correlation)
        del self.sent[correlation]

    @rule()
    def lose(self) -> None:
        self.channel.lose()
        self.open.clear()

    @rule(seconds=st.floats(0, 10))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def never_two_commands_are_out(self) -> None:
        purposes = [self.sent[one].purpose for one in self.open]
        assert sum(purpose in MAY_NOT for purpose in purposes) <= 1
        assert self.channel.is_free is (not self.open)


TestChannel = ChannelMachine.TestCase
TestChannel.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, database=None, derandomize=True
)
