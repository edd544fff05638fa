"""The pipe's server with real connections: who may do what, what is counted, who is dropped."""

import asyncio
import json
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from gateway.app import loop_factory
from gateway.core.messages import Call, CallAnswer, Dialect, NoCallAnswer, Purpose, Request
from gateway.metrics import Metrics
from gateway.terminal import pipe as pipe_module
from gateway.terminal import pipe_client
from gateway.terminal.dialects import encode
from gateway.terminal.pipe import Pipe
from gateway.terminal.pipe_client import WINDOW_BYTES, Client
from gateway.terminal.pipe_lines import LineBuffer
from gateway.terminal.pipe_name import listen, pipe_address
from gateway.terminal.pipe_text import TextForm
from tests.support.net import free_pipe_name
from tests.support.pipes import PipeEnd, open_pipe
from tests.support.stack import eventually

TICK = {"kind": "tick", "seq": 1, "symbol": "EURUSD", "time": 1, "broker_time": 1}


class Server:
    """A pipe, and everything that it has reported."""

    def __init__(self, text: TextForm | None = None, name: str | None = None) -> None:
        self.name = name or free_pipe_name()
        self.metrics = Metrics()
        self.frames: list[tuple[bytes, bytes]] = []
        self.links: list[bool] = []
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.calls: list[tuple[Call, Callable[[CallAnswer], None]]] = []
        make = (text.client,) if text else ()
        self.pipe = Pipe(self.name, self.metrics, lambda *call: self.calls.append(call), *make)

    async def __aenter__(self) -> "Server":
        self.pipe.wire.open(lambda *frame: self.frames.append(frame), self.links.append)
        self.pipe.feed.open(self._publish)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.pipe.wire.close()
        await asyncio.sleep(0)  # its task ends, and gives the name up

    def _publish(self, messages: list[tuple[bytes, bytes]]) -> None:
        self.published += [(topic.decode(), msgpack.unpackb(packed)) for topic, packed in messages]

    @property
    def malformed(self) -> float:
        """Count the lines that could not be used."""
        page, _ = self.metrics.render("text/plain")
        sample = b'mt4_gateway_replies_discarded_total{reason="malformed"} '
        return next(
            (float(line[len(sample) :]) for line in page.splitlines() if line.startswith(sample)), 0
        )


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Run a pipe."""
    async with Server() as server:
        yield server


async def linked(server: Server) -> None:
    """Wait for the link to the terminal."""
    await eventually(lambda: server.links[-1:] == [True])


# ---- requests and replies -----------------------------------------------------------------


async def test_request_goes_down_and_its_reply_comes_up(server: Server) -> None:
    """The very object that was sent, and the very bytes that came back."""
    async with PipeEnd(server.name) as end:
        await linked(server)

        assert server.pipe.wire.send(b"a-1", b'{"action":"PING","id":"x/y"}')
        assert ("a-1", {"action": "PING", "id": "x/y"}) == await end.request()

        end.say(b'{"kind":"reply","correlation":"a-1","response":{"connected":true}}')
        await eventually(lambda: server.frames)
        assert [(b"a-1", b'{"response":{"connected":true}}')] == server.frames


def test_pipe_works_in_the_loop_that_the_gateway_chooses() -> None:
    """Which is uvloop where there is one; tests run in another."""

    async def there_and_back() -> None:
        async with Server() as server, PipeEnd(server.name) as end:
            await linked(server)
            assert server.pipe.wire.send(b"a-1", b'{"action":"PING"}')
            assert ("a-1", {"action": "PING"}) == await end.request()
            server.pipe.wire.reconnect()
            assert await end.is_over()

    with asyncio.Runner(loop_factory=loop_factory("pipe")) as runner:
        runner.run(there_and_back())


async def test_nothing_is_sent_while_there_is_no_terminal(server: Server) -> None:
    """What cannot leave now is refused now, never kept."""
    assert not server.pipe.wire.send(b"a-1", b'{"action":"PING"}')

    async with PipeEnd(server.name):
        await linked(server)
    await eventually(lambda: server.links == [True, False])

    assert not server.pipe.wire.send(b"a-2", b'{"action":"PING"}')
    async with PipeEnd(server.name) as again:
        await linked(server)
        assert server.pipe.wire.send(b"a-3", b'{"action":"PING"}')
        assert ("a-3", {"action": "PING"}) == await again.request()


async def test_reconnect_drops_the_terminal_which_may_come_back(server: Server) -> None:
    """The lost link is told at once, as ZeroMQ's wire does."""
    async with PipeEnd(server.name) as end:
        await linked(server)
        server.pipe.wire.reconnect()

        assert [True, False] == server.links
        assert await end.is_over()
    async with PipeEnd(server.name):
        await linked(server)


async def test_second_terminal_is_refused_and_the_first_stays(server: Server) -> None:
    """A frame must never go to a terminal it is not meant for."""
    async with PipeEnd(server.name), PipeEnd(server.name, "ticks") as second:
        assert "terminal already" in (await second.next("refused"))["message"]
        assert await second.is_over()
    async with PipeEnd(server.name) as first:
        await linked(server)
        async with PipeEnd(server.name, "commands") as second:
            assert "terminal already" in (await second.next("refused"))["message"]
        assert server.pipe.wire.send(b"a-1", b"{}")
        assert ("a-1", {}) == await first.request()


async def test_reply_of_a_dropped_terminal_is_not_heard(server: Server) -> None:
    """It may have been on its way when the link was given up."""
    async with PipeEnd(server.name) as end:
        await linked(server)
        (client,) = server.pipe.clients
        server.pipe.wire.reconnect()
        client.data_received(b'{"kind":"reply","correlation":"a-1","response":1}\n')

        assert [] == server.frames
        assert await end.is_over()


async def test_two_programs_share_the_work(server: Server) -> None:
    """One takes commands, one publishes, and what one must not send is refused."""
    async with PipeEnd(server.name, "commands") as commands, PipeEnd(server.name, "ticks") as ticks:
        await linked(server)
        ticks.say(TICK)
        await eventually(lambda: server.published)
        commands.say(TICK)
        ticks.say(b'{"kind":"reply","correlation":"a-1"}')

        assert "must not send tick" in (await commands.next("error"))["message"]
        assert "must not send reply" in (await ticks.next("error"))["message"]
        assert [] == server.frames
        assert 1 == len(server.published)


# ---- the first line -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        {"kind": "open"},
        {"kind": "open", "role": "root"},
        {"kind": "tick"},
        b'{"kind":"open","role":',
    ],
    ids=str,
)
async def test_who_does_not_say_what_for_is_refused(server: Server, first: Any) -> None:
    """The answer names what would be right."""
    async with PipeEnd(server.name, None) as end:
        end.say(first)

        assert "commands, ticks, calls" in (await end.next("refused"))["message"]
        assert await end.is_over()


async def test_nothing_is_told_to_who_has_said_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may only read the pipe learns nothing from it, and does not keep it."""
    monkeypatch.setattr(pipe_module, "BEAT_S", 0.02)
    monkeypatch.setattr(pipe_client, "SILENT_AFTER_S", 0.1)
    async with Server() as quick, PipeEnd(quick.name, None) as end:
        assert b"" == await end.line()


# ---- silence ------------------------------------------------------------------------------


async def test_silent_client_is_found_within_three_seconds(server: Server) -> None:
    """With nothing of ours in its hands, silence means that it is gone."""
    async with PipeEnd(server.name) as end:
        await linked(server)
        silent_at_s = time.monotonic()
        assert await end.is_over()

        assert 2.0 < time.monotonic() - silent_at_s  # and, but for a busy machine's delay:
        assert pipe_client.SILENT_AFTER_S + pipe_module.BEAT_S < 3.0
        assert [True, False] == server.links


async def test_terminal_may_be_silent_while_it_works(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has one thread: a slow order is no silence, and the line decides how long it may last."""
    monkeypatch.setattr(pipe_module, "BEAT_S", 0.02)
    monkeypatch.setattr(pipe_client, "SILENT_AFTER_S", 0.1)
    async with Server() as quick, PipeEnd(quick.name) as end:
        await linked(quick)
        quick.pipe.wire.send(b"a-1", b"{}")
        for _ in range(20):
            await end.next("ping")
        assert [True] == quick.links

        end.say(b'{"kind":"reply","correlation":"a-1"}')
        assert await end.is_over()
        assert [True, False] == quick.links


async def test_unanswered_probe_excuses_no_silence(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that froze just before it is as gone as one that froze just after.

    The probe is written as the line writes it.
    """
    monkeypatch.setattr(pipe_module, "BEAT_S", 0.02)
    monkeypatch.setattr(pipe_client, "SILENT_AFTER_S", 0.1)
    probe = encode(Request(Purpose.PROBE, "PING", {}), Dialect.BRIDGE, None)
    async with Server() as quick, PipeEnd(quick.name) as end:
        await linked(quick)
        quick.pipe.wire.send(b"a-1", probe)

        assert await end.is_over()
        assert [True, False] == quick.links


async def test_lost_reply_makes_no_silence_lasting(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply to a later frame shows that the earlier one has been worked off."""
    monkeypatch.setattr(pipe_module, "BEAT_S", 0.02)
    monkeypatch.setattr(pipe_client, "SILENT_AFTER_S", 0.1)
    async with Server() as quick, PipeEnd(quick.name) as end:
        await linked(quick)
        quick.pipe.wire.send(b"a-1", b"{}")
        quick.pipe.wire.send(b"a-2", b"{}")
        end.say(b'{"kind":"reply","correlation":"a-2"}')

        assert await end.is_over()


async def test_client_learns_how_much_was_read(server: Server) -> None:
    """It may write so much ahead and no more, so that it never waits for a full pipe."""
    async with PipeEnd(server.name) as end:
        opened = await end.next("opened")
        start = len(json.dumps({"kind": "open", "role": "terminal", "program": "test"})) + 1
        line = json.dumps({"kind": "ping", "padding": "x" * 100}).encode()
        count = WINDOW_BYTES // len(line)
        end.say(*[line] * count)
        taken = 0
        while taken < start + count * (len(line) + 1):
            taken = (await end.next("ping"))["taken"]

        assert WINDOW_BYTES == opened["window"]
        assert start + count * (len(line) + 1) == taken


# ---- what cannot be used ------------------------------------------------------------------

GARBAGE = [
    b"",
    b"{}",
    b"nonsense",
    b'{"kind":"tick"}',
    b'{"kind":"tick","symbol":"EURUSD","bid":NaN}',
    b'{"kind":"order","order":1e999}',
    b'{"kind":"account"',
    b'{"kind":"reply"}',
    b'{"kind":"call","call":"1"}',
    b'{"kind":"call","call":1,"name":7,"timeout_s":1}',
    b'{"kind":"unheard_of"}',
    b"\xff\xfe{\x00",
    b'{"kind":"heartbeat","x":' + b"[" * 5000,
]


async def test_malformed_lines_are_answered_and_counted(server: Server) -> None:
    """Each of them, and the connection goes on."""
    async with PipeEnd(server.name) as end:
        await linked(server)
        for line in GARBAGE:
            end.say(line)
            assert (await end.next("error"))["message"]
        end.say(TICK)
        await eventually(lambda: server.published)

        assert len(GARBAGE) == server.malformed
        assert [True] == server.links
        assert [] == server.frames


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_hundred_thousand_malformed_lines_leave_memory_flat(server: Server) -> None:
    """Each is counted and answered, and nothing of it stays."""
    async with PipeEnd(server.name) as end:
        await linked(server)
        answers = 0

        async def read_on() -> None:
            nonlocal answers
            while line := await end.line():
                answers += b'"error"' in line

        async def send(count: int, total: int) -> None:
            for number in range(count):
                end.say(GARBAGE[number % len(GARBAGE)])
                if number % 100 == 0:
                    await end.writer.drain()
            await eventually(lambda: answers == total, within_s=60)

        reading = asyncio.create_task(read_on())
        await send(10_000, 10_000)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        await send(90_000, 100_000)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        reading.cancel()

        assert 100_000 == server.malformed
        assert [True] == server.links
        assert grown < 500_000


async def test_client_that_reads_nothing_is_dropped(server: Server) -> None:
    """What is kept for it is bounded."""
    async with PipeEnd(server.name) as deaf:
        await linked(server)
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        (client,) = server.pipe.clients
        while client.tell(b"x" * 10_000):
            deaf.say(b"")
        await eventually(lambda: server.links == [True, False])


async def test_line_without_an_end_ends_the_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like a frame beyond ZeroMQ's limit: what follows could not be told apart any more."""
    monkeypatch.setattr(pipe_client, "LineBuffer", lambda: LineBuffer(1000))
    async with PipeEnd(server.name) as end:
        await linked(server)
        end.say(b"x" * 2000)

        assert await end.is_over()
        assert 1 == server.malformed


async def test_tick_arrives_as_the_publishing_socket_would_bring_it(server: Server) -> None:
    """Topic and map, without what belongs to the line."""
    async with PipeEnd(server.name, "ticks") as end:
        end.say({**TICK, "symbol": "EURUSD.m", "bid": 1.5}, {"kind": "heartbeat", "session": "s1"})
        await eventually(lambda: len(server.published) == 2)

    tick = {key: value for key, value in TICK.items() if key != "kind"}
    assert ("tick.EURUSD.m", tick | {"symbol": "EURUSD.m", "bid": 1.5}) == server.published[0]
    assert ("heartbeat", {"session": "s1"}) == server.published[1]


# ---- the name -----------------------------------------------------------------------------


async def test_client_that_was_being_accepted_sees_the_end_of_the_pipe() -> None:
    """It would wait for a gateway that is gone."""
    async with Server() as server:

        def make_the_last(pipe: Pipe) -> Client:
            pipe.close()
            return Client(pipe)

        server.pipe._make_client = make_the_last
        async with PipeEnd(server.name) as late:
            assert await late.is_over()
        assert [] == server.pipe.clients


async def test_name_of_another_process_is_waited_for(server: Server) -> None:
    """Two gateways never serve one name; the second has it once the first has gone."""
    async with Server(name=server.name) as second:
        async with PipeEnd(server.name) as end:
            await linked(server)
            assert [] == second.links
            server.pipe.wire.close()
            assert await end.is_over()
        async with PipeEnd(server.name):
            await linked(second)


async def test_giving_a_name_up_leaves_the_next_ones_file_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process may listen there in the same moment."""
    name = free_pipe_name()
    listening = await listen(name, asyncio.Protocol)
    server = listening._server  # type: ignore[attr-defined]
    close = server.close

    def remove() -> None:
        Path(pipe_address(name)).unlink(missing_ok=True)

    with socket.socket(socket.AF_UNIX) as next_one:

        def close_and_be_followed() -> None:
            close()
            remove()
            next_one.bind(pipe_address(name))
            next_one.listen()

        monkeypatch.setattr(server, "close", close_and_be_followed)
        listening.close()
        _, writer = await open_pipe(name)
        writer.close()
    remove()


async def test_folder_that_is_a_link_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever has made it in a folder for all could lead clients to a gateway of their own."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "mt4-gateway").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    with pytest.raises(OSError, match="be no link"):
        await listen(free_pipe_name(), asyncio.Protocol)


# ---- calls --------------------------------------------------------------------------------


async def test_call_and_its_answer(server: Server) -> None:
    """The number tells which answer is whose."""
    async with PipeEnd(server.name, "calls") as end:
        end.say({"kind": "call", "call": 7, "name": "double", "timeout_s": 2, "payload": {"x": 1}})
        await eventually(lambda: server.calls)
        call, answered = server.calls[0]
        answered(CallAnswer([2]))

        assert Call("double", {"x": 1}, 2.0) == call
        assert {"kind": "answer", "call": 7, "payload": [2]} == await end.next("answer")


@pytest.mark.parametrize("payload", [b"1" + b"0" * 30, b"1e999", b"NaN", b"{"])
async def test_call_that_cannot_be_read_is_answered_by_its_number(
    server: Server, payload: bytes
) -> None:
    """Its program would wait for nothing until its time is up."""
    async with PipeEnd(server.name, "calls") as end:
        end.say(b'{"kind":"call","call":7,"name":"x","timeout_s":2,"payload":%s}' % payload)
        answer = await end.next("answer")

        assert (7, "bad_call") == (answer["call"], answer["error"])
        assert 1 == server.malformed
        assert [] == server.calls


async def test_unanswered_call_says_why(server: Server) -> None:
    """In a word for programs, and in words."""
    async with PipeEnd(server.name, "terminal") as end:
        end.say({"kind": "call", "call": 1, "name": "double", "timeout_s": 2})
        await eventually(lambda: server.calls)
        server.calls[0][1](CallAnswer(error=NoCallAnswer.TIMEOUT, message="too late"))

        expected = {"kind": "answer", "call": 1, "error": "timeout", "message": "too late"}
        assert expected == await end.next("answer")


# ---- the plain form -----------------------------------------------------------------------


@pytest.fixture
async def plain() -> AsyncIterator[Server]:
    """Run a pipe for bare numbers."""
    async with Server(TextForm("EURUSD", "double", 1.0)) as server:
        yield server


async def test_number_is_a_tick_and_a_question(plain: Server) -> None:
    """The answer comes back with three decimals and a Windows line end."""
    async with PipeEnd(plain.name, None) as end:
        end.say(b"1.12345\r")
        await eventually(lambda: plain.calls)
        call, answered = plain.calls[0]
        answered(CallAnswer(2.2469))

        assert Call("double", 1.12345, 1.0) == call
        assert b"2.247\r\n" == await end.line()
    ((topic, tick),) = plain.published
    assert ("tick.EURUSD", 1, 1.12345, None) == (topic, tick["seq"], tick["bid"], tick["ask"])


@pytest.mark.parametrize(
    "answer",
    [
        CallAnswer(error=NoCallAnswer.NOBODY_LISTENS, message="nobody"),
        CallAnswer("2.0"),
        CallAnswer(True),
        CallAnswer(None),
        CallAnswer(10**400),
        CallAnswer(1e15),
    ],
    ids=lambda answer: str(answer)[:60],
)
async def test_question_without_an_answer_ends_the_connection(
    plain: Server, answer: CallAnswer
) -> None:
    """The form has no word for it, and a wrong number would be taken for a price."""
    async with PipeEnd(plain.name, None) as end:
        end.say(b"1.5")
        await eventually(lambda: plain.calls)
        plain.calls[0][1](answer)

        assert b"" == await end.line()


@pytest.mark.parametrize(
    "line", [b"", b"abc", b"nan", b"inf", b"1,5", b"1_5", b"1e999", b"1 5", b"1" * 400, b"0x1"]
)
async def test_what_is_no_number_is_counted_and_ends_the_connection(
    plain: Server, line: bytes
) -> None:
    """It would wait for an answer for ever."""
    async with PipeEnd(plain.name, None) as end:
        end.say(line)

        assert b"" == await end.line()
    assert 1 == plain.malformed
    assert [] == plain.published


async def test_price_before_a_bad_line_is_a_tick(plain: Server) -> None:
    """Also where both come at once, and more behind them, which is not heard any more."""
    async with PipeEnd(plain.name, None) as end:
        end.writer.write(b"1.5\nabc\n2.5\n")

        assert b"" == await end.line()
    assert [1.5] == [tick["bid"] for _, tick in plain.published]


async def test_late_answer_is_not_given_to_a_newer_question(plain: Server) -> None:
    """There are no ids: it would be taken for the newer one's."""
    async with PipeEnd(plain.name, None) as end:
        end.say(b"1", b"2")
        await eventually(lambda: len(plain.calls) == 2)
        (_, first), (_, second) = plain.calls
        first(CallAnswer(2.0))
        second(CallAnswer(4.0))

        assert b"4.000\r\n" == await end.line()
