"""Two gateways for one terminal: one is active, the other stands by and takes over."""

import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from gateway.app import App, Role
from gateway.client import CommandResult, NoAnswer, NobodyListens, Outcome
from gateway.config import Journal
from gateway.errors import ConfigError, JournalAway, StartOver
from gateway.journal.streams import Streams
from gateway.subjects import Subjects
from tests.support.nats_server import NatsServer
from tests.support.stack import EXISTING_SERVER, QUIET, Stack, eventually

PATIENT = {"reply_timeout_s": 2.0, "hang_timeout_s": 2.0}
"""Of a gateway whose terminal is kept busy until something else has come in."""

HA: dict[str, Any] = {"ha": {"lease_ttl_s": 1}}


class Pair:
    """A second gateway beside a stack's own."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.second = App(stack.app.config)

    async def __aenter__(self) -> "Pair":
        self.running = asyncio.create_task(self.second.run())
        await eventually(lambda: self.second.role is Role.STANDBY)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.second.stop()
        with suppress(StartOver, ExceptionGroup):
            await self.running

    async def takes_over(self) -> None:
        """Wait until the second gateway is the active one."""
        await eventually(lambda: self.second.role is Role.ACTIVE and self.second.line.is_usable)


async def kill(stack: Stack) -> None:
    """End a stack's gateway as SIGKILL would: it neither drains nor releases its lease."""
    stack.app.lease.release = _nothing  # type: ignore[method-assign]
    stack.app.commands.abandon = _nothing  # type: ignore[method-assign]
    stack.running.cancel()
    with suppress(asyncio.CancelledError):
        await stack.running


async def _nothing() -> None:
    """Do nothing."""


async def test_standby_is_ready_and_takes_no_commands(nats_server: NatsServer) -> None:
    """It neither claims the terminal nor listens."""
    async with Stack(nats_server.url, **HA) as stack, Pair(stack) as pair:
        epoch = stack.app.line.session.epoch
        results = [await stack.buy() for _ in range(3)]

        assert [] == pair.second.not_ready_because()
        assert [Outcome.SUCCEEDED] * 3 == [result.outcome for result in results]
        assert not pair.second.line.is_linked
        assert epoch == stack.app.line.session.epoch
        assert 0 == len(pair.second.commands.results.last)


async def test_step_down_hands_over_within_a_second(nats_server: NatsServer) -> None:
    """The lease is given up, not waited for."""
    async with Stack(nats_server.url, ha={"lease_ttl_s": 60}) as stack, Pair(stack) as pair:
        started_s = time.monotonic()
        await stack.client.control("stepdown")
        await pair.takes_over()
        took_s = time.monotonic() - started_s
        with pytest.raises(StartOver):
            await stack.running
        result = await stack.buy()

        assert result.succeeded
        assert took_s < 3.0  # 60 s if it were waited for; bench and chaos print how long it takes


async def test_no_request_is_lost_between_two_gateways(nats_server: NatsServer) -> None:
    """One that ends leaves the queue first, and answers what NATS had given it by then."""
    async with Stack(nats_server.url, ha={"lease_ttl_s": 60}) as stack, Pair(stack) as pair:
        answered, unanswered = list[CommandResult](), list[NoAnswer]()
        is_over = asyncio.Event()

        async def ask() -> None:
            while not is_over.is_set():
                try:
                    answered.append(await stack.client.query("GET_ACCOUNT_INFO", timeout_s=0.5))
                except NobodyListens:
                    await asyncio.sleep(0.005)  # neither: it may ask again
                except NoAnswer as exc:
                    unanswered.append(exc)

        asking = [asyncio.create_task(ask()) for _ in range(20)]
        await eventually(lambda: len(answered) > 20)
        stack.app.stop()
        await stack.running
        await pair.takes_over()
        before = len(answered)
        await eventually(lambda: len(answered) > before + 20)
        is_over.set()
        await asyncio.gather(*asking)

        assert [] == unanswered


async def test_order_in_work_at_a_kill_is_found_by_the_next_gateway(
    nats_server: NatsServer,
) -> None:
    """Its reply went to the dead one; the ledger knows, and the result is told once."""
    async with Stack(nats_server.url, **HA) as stack, Pair(stack) as pair:
        told: list[CommandResult] = []

        async def follow() -> None:
            async for result in stack.client.results():
                told.append(result)

        stack.background(follow())
        stack.terminal.faults.add_spec("drop:DO_ORDER_SEND:1")
        ordering = asyncio.create_task(stack.buy(id_="lost", timeout_s=10.0))
        await eventually(lambda: stack.terminal.truth.executions("tester/lost"))
        await kill(stack)
        await pair.takes_over()
        result = await ordering
        again = await stack.buy(id_="lost", timeout_s=10.0)

        assert result.succeeded
        assert result.resolved
        assert result.body == again.body
        assert 1 == len(stack.terminal.truth.executions("tester/lost"))
        assert ["lost"] == [one.id for one in told]


async def test_order_in_work_at_a_kill_is_searched_at_the_existing_server(
    nats_server: NatsServer,
) -> None:
    """No ledger: the next gateway finds its token, and never sends it again."""
    async with Stack(nats_server.url, EXISTING_SERVER, **HA) as stack, Pair(stack) as pair:
        stack.terminal.faults.add_spec("drop:DO_ORDER_SEND:1")
        ordering = asyncio.create_task(stack.buy(id_="lost", timeout_s=15.0))
        await eventually(lambda: len(stack.terminal.broker.orders) == 1)
        await kill(stack)
        await pair.takes_over()
        result = await ordering

        assert result.succeeded
        assert 1 == len(stack.terminal.broker.orders)


async def test_result_of_an_earlier_gateway_is_known(nats_server: NatsServer) -> None:
    """By asking, by repeating, and not to be had under another wish."""
    async with Stack(nats_server.url, **HA) as stack, Pair(stack) as pair:
        first = await stack.buy(id_="once")
        await stack.client.control("stepdown")
        await pair.takes_over()
        asked = await stack.client.outcome_of("once")
        again = await stack.buy(id_="once")
        other = await stack.buy(0.3, id_="once")

        assert isinstance(asked, CommandResult)
        assert first.body == asked.body == again.body
        assert Outcome.DENIED == other.outcome
        assert 409 == (other.error or {})["code"]
        assert 1 == len(stack.terminal.broker.orders)


async def test_standby_tells_of_no_missing_journal(nats_server: NatsServer) -> None:
    """It has begun no term of its own; that is no lack of JetStream."""
    async with Stack(nats_server.url, **HA) as stack, Pair(stack) as pair:
        told = [app.describe()["journal"] for app in (stack.app, pair.second)]

    assert ["ok", "standing by"] == told


async def test_deposed_gateway_starts_over_and_writes_nothing(nats_server: NatsServer) -> None:
    """It slept past its lease: whatever it still believes, the journal refuses it."""
    # Not over a pipe: that has one server, and the second gateway would wait for it.
    async with Stack(nats_server.url, transport="zmq", **HA) as stack, Pair(stack) as pair:
        good_until_s = stack.app.lease._good_until_s
        stack.app.lease.keep = _nothing  # type: ignore[method-assign]
        for task in asyncio.all_tasks():
            if task.get_name() == "lease":
                task.cancel()
        await pair.takes_over()
        stack.app.lease._good_until_s = good_until_s + 3600  # asleep, it does not know
        term = pair.second.describe()["term"]
        wanted = {"symbol": "EURUSD", "order_type": 0, "lots": 0.1}
        sent = 0
        while not stack.running.done():  # NATS hands them to either
            sent += 1
            with suppress(NoAnswer):
                await stack.client.trade("DO_ORDER_SEND", wanted, timeout_s=1.0)

        assert isinstance(stack.running.exception(), ExceptionGroup)
        assert term == pair.second.describe()["term"]
        assert sent - 1 == len(stack.terminal.broker.orders)


async def test_lease_that_ran_out_in_an_outage_is_taken_again(
    own_nats_server: NatsServer,
) -> None:
    """Nobody else did; the same term goes on, and trades are taken again."""
    async with Stack(own_nats_server.url, **HA) as stack:
        before = stack.app.describe()["term"]
        own_nats_server.pause()
        await eventually(lambda: not stack.app.lease.is_held())
        own_nats_server.resume()
        await eventually(lambda: stack.app.journal.refusal() is None)
        result = await stack.buy()

        assert result.succeeded
        assert before == stack.app.describe()["term"]


@pytest.mark.parametrize("body", [b'{"reason": ""}', b'{"reason": null}', b"{}"])
async def test_halt_without_a_word_is_shown(nats_server: NatsServer, body: bytes) -> None:
    """An empty reason would read as *not halted*."""
    async with Stack(nats_server.url) as stack:
        connection = await nats.connect(nats_server.url)
        reply = await connection.request("mt4.demo.control.halt", body, timeout=5)
        await connection.close()
        said = json.loads(reply.data)
        await stack.client.control("resume")

    assert "no reason was given" == said["halted"]


async def test_halt_outlives_the_gateway(nats_server: NatsServer) -> None:
    """Trades are refused with 423 by the next one as well, until `resume`."""
    async with Stack(nats_server.url, **HA) as stack, Pair(stack) as pair:
        await stack.client.control("halt", reason="a test")
        halted = await stack.buy()
        read = await stack.client.query("GET_ORDERS")
        await stack.client.control("stepdown")
        await pair.takes_over()
        still = await stack.buy()
        await stack.client.control("resume")
        resumed = await stack.buy()

        assert [423, 423] == [(one.error or {})["code"] for one in (halted, still)]
        assert "a test" in (still.error or {})["message"]
        assert read.succeeded
        assert resumed.succeeded


async def test_halt_and_resume_at_once_leave_the_jobs_as_the_trades(
    nats_server: NatsServer,
) -> None:
    """Whichever came last."""
    async with Stack(nats_server.url) as stack:
        jetstream = stack.client.connection.jetstream()
        for _ in range(10):
            verbs = ("halt", "resume", "halt", "resume")
            await asyncio.gather(*(stack.client.control(verb) for verb in verbs))
            jobs = await jetstream.consumer_info("mt4_demo_jobs", "other")

            assert (stack.app.journal.halted is not None) is bool(jobs.paused)


async def test_nothing_accepted_before_a_halt_is_sent_after_it(nats_server: NatsServer) -> None:
    """What waits in the lanes is denied when its turn comes."""
    async with Stack(nats_server.url) as stack:
        stack.terminal.faults.add_spec("slow:DO_ORDER_SEND:1:1s")
        first = asyncio.create_task(stack.buy())  # answered late: its terminal is busy
        await eventually(lambda: stack.app.line.current_action == "DO_ORDER_SEND")
        second = asyncio.create_task(stack.buy())
        await eventually(lambda: stack.metric("queue_depth", lane="trade"))
        await stack.client.control("halt")
        results = [await first, await second]

        assert [Outcome.SUCCEEDED, Outcome.DENIED] == [one.outcome for one in results]
        assert 423 == (results[1].error or {})["code"]
        assert 1 == len(stack.terminal.broker.orders)


async def test_halt_may_allow_what_reduces_risk(nats_server: NatsServer) -> None:
    """By configuration; closing is possible, opening is not."""
    async with Stack(nats_server.url, policy={"halt_allows_reducing": True}) as stack:
        order = await stack.buy()
        await stack.client.control("halt")
        opened = await stack.buy()
        closed = await stack.client.order_close(order.response["ticket"])

        assert 423 == (opened.error or {})["code"]
        assert closed.succeeded


async def test_unknown_trade_is_proved_by_a_second_look(nats_server: NatsServer) -> None:
    """Its replies were lost for too long; when they come again, its ledger settles it, once."""
    terminal = {"give_up_s": 0.3, "watch_interval_s": 0.2}
    async with Stack(nats_server.url, QUIET, terminal=terminal) as stack:
        for lost in ("DO_ORDER_SEND", "RESOLVE"):
            stack.terminal.faults.add_spec(f"drop:{lost}:always")
        result = await stack.buy(id_="doubt", timeout_s=5.0)
        stack.terminal.faults.clear()

        async def known() -> CommandResult:
            found = await stack.client.outcome_of("doubt")
            assert isinstance(found, CommandResult)
            return found

        assert Outcome.UNKNOWN == result.outcome
        async with asyncio.timeout(10):
            while (proved := await known()).outcome is Outcome.UNKNOWN:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert proved.succeeded
        assert "reported as unknown" in str(proved.warning)
        assert 1 == len(stack.terminal.truth.executions("tester/doubt"))


async def test_trade_that_waits_is_denied_at_the_end_only_under_the_lease(
    nats_server: NatsServer,
) -> None:
    """Without it another gateway may have the same id; with it, its caller is told at once."""
    async with Stack(nats_server.url, terminal=PATIENT, ha={"lease_ttl_s": 60}) as stack:
        await stack.buy()  # its symbol's rules are known from here on
        stack.terminal.faults.add_spec("slow:GET_ACCOUNT_INFO:always:500ms")
        stack.background(_read(stack))
        await eventually(lambda: stack.app.line.current_action == "GET_ACCOUNT_INFO")
        ordering = asyncio.create_task(stack.buy(id_="waits", timeout_s=0.6))
        await eventually(lambda: stack.metric("queue_depth", lane="trade"))
        await stack.app.lease.release()
        stack.app.stop()
        await stack.running
        with pytest.raises(NoAnswer):
            await ordering

        assert not stack.metric("commands_total", action="DO_ORDER_SEND", outcome="denied")


async def test_nothing_is_left_in_the_lanes_of_a_turn_that_is_over(
    nats_server: NatsServer,
) -> None:
    """It would be answered once more at its deadline, by a gateway that is no more."""
    async with Stack(nats_server.url, terminal=PATIENT) as stack:
        await stack.buy()  # its symbol's rules are known from here on
        stack.terminal.faults.add_spec("slow:GET_ACCOUNT_INFO:always:500ms")
        stack.background(_read(stack))
        await eventually(lambda: stack.app.line.current_action == "GET_ACCOUNT_INFO")
        ordering = asyncio.create_task(stack.buy(timeout_s=5.0))
        await eventually(lambda: stack.metric("queue_depth", lane="trade"))
        stack.running.cancel()
        with suppress(asyncio.CancelledError):
            await stack.running
        result = await ordering

        assert 410 == (result.error or {})["code"]
        assert not any(lane["depth"] for lane in stack.app.commands.queues().values())


async def test_second_look_that_waits_for_its_turn_disturbs_no_step_down(
    nats_server: NatsServer,
) -> None:
    """It is no command of anybody's: nobody is told that it was denied, and nothing breaks."""
    terminal = {"give_up_s": 0.3, "watch_interval_s": 0.2}
    async with Stack(nats_server.url, QUIET, terminal=terminal) as stack:
        for lost in ("DO_ORDER_SEND", "RESOLVE"):
            stack.terminal.faults.add_spec(f"drop:{lost}:always")
        await stack.buy(id_="doubt", timeout_s=5.0)
        stack.background(stack.terminal.freeze(2.0))
        stack.background(_read(stack))
        await eventually(lambda: stack.metric("queue_depth", lane="poll"))
        await stack.client.control("stepdown")
        with pytest.raises(StartOver):
            await stack.running

        assert not stack.metric("commands_total", action="DO_ORDER_SEND", outcome="denied")


async def _read(stack: Stack) -> None:
    """Read something."""
    await stack.client.query("GET_ACCOUNT_INFO")


async def test_journal_is_only_verified_where_it_must_not_be_made(
    nats_server: NatsServer,
) -> None:
    """Every stream that is missing or other is named at once."""
    async with Stack(nats_server.url, journal={"retention_days": 7}) as stack:
        config = stack.app.config.model_copy(
            update={
                "journal": stack.app.config.journal.model_copy(
                    update={"provision": "verify", "retention_days": 8}
                )
            }
        )
        second = App(config)
        with pytest.raises(ExceptionGroup) as caught:
            await second.run()

        text = repr(caught.value)
        assert "mt4_demo_dead: max_age" in text
        assert "mt4j_demo" not in text


async def test_limits_that_would_lose_records_are_drift(nats_server: NatsServer) -> None:
    """Somebody has put them on the journal and the jobs; `create` takes them off."""
    async with Stack(nats_server.url) as stack:
        jetstream = stack.client.connection.jetstream()
        for name, limits in (
            ("mt4j_demo", {"max_msgs": 100, "max_bytes": 100_000, "max_age": 3600}),
            ("mt4_demo_jobs", {"max_age": 3600}),
        ):
            found = (await jetstream.stream_info(name)).config
            await jetstream.update_stream(found.evolve(**limits))
        journal = stack.app.config.journal
        verifying = journal.model_copy(update={"provision": "verify"})
        with pytest.raises(ConfigError) as caught:
            await Streams(stack.app.bus.subjects, verifying).ensure(stack.client.connection)
        await Streams(stack.app.bus.subjects, journal).ensure(stack.client.connection)
        await Streams(stack.app.bus.subjects, verifying).ensure(stack.client.connection)

        assert ["max_msgs", "max_bytes", "max_age", "max_age"] == [
            problem.split()[2] for problem in caught.value.problems
        ]


async def test_what_is_stored_says_enough_to_find_out(nats_server: NatsServer) -> None:
    """The record of a trade that was sent names its terminal's ledger and its deadline."""
    async with Stack(nats_server.url) as stack:
        await stack.buy(id_="known")
        jetstream = stack.client.connection.jetstream()
        record = await jetstream.get_last_msg("mt4j_demo", "mt4j.demo.sent.tester.known")
        said = json.loads(record.data or b"")

        assert "DO_ORDER_SEND" == said["action"]
        assert "bridge" == said["dialect"]
        assert stack.app.line.session.greeting is not None
        assert stack.app.line.session.greeting.ledger == said["ledger"]
        assert said["deadline_at"] > said["received_at"]


async def test_without_jetstream_reads_go_on_and_trades_are_denied(tmp_path: Path) -> None:
    """With a clear 503; when JetStream is there, the gateway starts over and trades."""
    server = NatsServer(tmp_path, jetstream=False)
    server.start()
    try:
        async with Stack(server.url) as stack:
            read = await stack.client.query("GET_ACCOUNT_INFO")
            denied = await stack.buy()

            assert Role.READING is stack.app.role
            assert 0 == stack.app.line.session.epoch
            assert read.succeeded
            assert (503, "NO_JOURNAL") == ((denied.error or {})["code"], denied.error["name"])
    finally:
        server.stop()


async def test_gateway_that_misses_jetstream_leaves_the_terminal_to_the_active_one(
    nats_server: NatsServer,
) -> None:
    """Else it would share its commands, and deny trades that the active one can do."""
    async with Stack(nats_server.url, **HA) as stack:
        second = App(stack.app.config)
        ensure, looked = second.streams.ensure, asyncio.Event()

        async def answers_late(client: Client) -> None:
            if not looked.is_set():
                looked.set()
                raise JournalAway("too slow")
            await ensure(client)

        second.streams.ensure = answers_late  # type: ignore[method-assign]
        running = asyncio.create_task(second.run())
        await looked.wait()
        results = [await stack.buy() for _ in range(10)]
        await eventually(lambda: second.role is Role.STANDBY)
        await stack.client.control("stepdown")
        await eventually(lambda: second.role is Role.ACTIVE)
        second.stop()
        await running
        with pytest.raises(StartOver):
            await stack.running

        assert all(result.succeeded for result in results)


async def test_result_whose_acknowledgement_was_lost_is_not_written_again(
    nats_server: NatsServer,
) -> None:
    """However long that took: the stream tells what it stores, and would tell it twice."""
    async with Stack(nats_server.url) as stack:
        records = stack.app.journal._records
        write, written = records.write, list[str]()

        async def deaf(subject: str, *args: Any) -> int:
            sequence = await write(subject, *args)
            written.append(subject)
            if ".result." in subject and len(written) == 2:
                raise JournalAway("its acknowledgement was lost")
            return sequence

        records.write = deaf  # type: ignore[method-assign,assignment]
        result = await stack.buy(id_="once")

        assert result.succeeded
        assert ["mt4j.demo.sent.tester.once", "mt4j.demo.result.tester.once"] == written


async def test_deleted_journal_is_noticed(nats_server: NatsServer) -> None:
    """Nothing is traded any more; the next turn finds a journal that knows less."""
    async with Stack(nats_server.url, **HA) as stack:
        await stack.buy()
        await stack.client.connection.jetstream().delete_stream("mt4j_demo")
        await eventually(stack.running.done)

        assert "the journal's stream has been deleted" in repr(stack.running.exception())


@pytest.mark.parametrize("stream", ["mt4_demo_jobs", "mt4_demo_dead"])
async def test_deleted_queue_is_made_anew(nats_server: NatsServer, stream: str) -> None:
    """Else no job would be done any more, or one that cannot be taken would hold up the rest."""
    async with Stack(nats_server.url, **HA) as stack:
        jetstream = stack.client.connection.jetstream()
        await jetstream.delete_stream(stream)
        if stream == "mt4_demo_dead":
            await stack.client.submit("DO_ORDER_SEND", {"lots": "many"})
        await eventually(stack.running.done)

        assert f"the stream {stream} has been deleted" in repr(stack.running.exception())


async def test_streams_of_another_prefix_are_left_alone(nats_server: NatsServer) -> None:
    """A dot of the prefix is an underscore in the stream's name."""
    async with await nats.connect(nats_server.url) as client:
        await Streams(Subjects("a.b", "demo"), Journal()).ensure(client)
        with pytest.raises(ConfigError, match=r"is another's, of a\.bj\.demo\.>"):
            await Streams(Subjects("a_b", "demo"), Journal()).ensure(client)


async def test_gateway_without_the_lease_does_not_say_not_known(nats_server: NatsServer) -> None:
    """Another may have finished the trade meanwhile; what is known here is true still."""
    async with Stack(nats_server.url, ha={"lease_ttl_s": 60}) as stack:
        await stack.buy(id_="known")
        await stack.app.lease.release()
        known = await stack.client.outcome_of("known")
        with pytest.raises(NoAnswer):
            await stack.client.outcome_of("other")

        assert isinstance(known, CommandResult)


async def test_journal_that_was_emptied_is_noticed_by_a_halt(nats_server: NatsServer) -> None:
    """An operator's request finds it out first; the gateway begins a new turn all the same."""
    async with Stack(nats_server.url, **HA) as stack:
        await stack.buy()
        await stack.client.connection.jetstream().purge_stream("mt4j_demo")
        with suppress(NoAnswer):
            await stack.client.control("halt", timeout_s=0.5)
        await eventually(stack.running.done)

        assert "term 1 is over" in repr(stack.running.exception())


async def test_journal_that_went_back_halts(nats_server: NatsServer) -> None:
    """The terminal's ledger was told of more; an operator decides, and then it may go on."""
    async with Stack(nats_server.url, **HA) as stack:
        for _ in range(3):
            await stack.buy()
        await stack.client.connection.jetstream().delete_stream("mt4j_demo")
        await eventually(stack.running.done)
        second = App(stack.app.config)
        running = asyncio.create_task(second.run())
        await eventually(lambda: second.role is Role.ACTIVE and second.line.is_usable)
        denied = await stack.buy()
        await eventually(lambda: second.journal.halted)
        await stack.client.control("resume")
        resumed = await stack.buy()
        second.stop()
        await running

        assert "went back in time" in (denied.error or {})["message"]
        assert resumed.succeeded


async def test_journal_that_goes_back_again_halts_again(nats_server: NatsServer) -> None:
    """A first loss that an operator has resumed after hides no second one."""
    async with Stack(nats_server.url, **HA) as stack:
        jetstream = stack.client.connection.jetstream()
        for _ in range(5):
            await stack.buy()
        await jetstream.delete_stream("mt4j_demo")
        await eventually(stack.running.done)
        second = App(stack.app.config)
        running = asyncio.create_task(second.run())
        await eventually(lambda: second.journal.halted)
        await stack.client.control("resume")
        for _ in range(3):
            await stack.buy()
        second.stop()
        await running
        for lost in ("sent.>", "result.>"):
            await jetstream.purge_stream("mt4j_demo", subject=f"mt4j.demo.{lost}")
        await jetstream.purge_stream("mt4j_demo", subject="mt4j.demo.term")
        third = App(stack.app.config)
        running = asyncio.create_task(third.run())
        await eventually(lambda: third.role is Role.ACTIVE and third.line.is_usable)
        denied = await stack.buy()
        third.stop()
        await running

        assert "knows of 5 trades, and the terminal of 8" in (denied.error or {})["message"]


async def test_lease_that_the_server_keeps_for_ever_is_taken(nats_server: NatsServer) -> None:
    """As one did that was killed: its record stays, and nobody renews it."""
    async with Stack(nats_server.url, **HA) as stack:
        await kill(stack)
        jetstream = stack.client.connection.jetstream()
        record = await jetstream.get_last_msg("mt4j_demo", "mt4j.demo.lease")
        await stack.client.connection.publish("mt4j.demo.lease", record.data or b"")  # without TTL
        async with Pair(stack) as pair:
            await pair.takes_over()
            result = await stack.buy()

            assert result.succeeded
