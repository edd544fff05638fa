"""Killed at each point between accepting a trade and acknowledging it: what its caller gets.

The gateways and the terminals are processes; a standby takes over from one that killed itself
(`crashing.py`). With a ledger every trade comes to its one order. At the existing server it may
end as unknown where nobody can tell whether the frame was executed; never twice.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest
from nats.aio.msg import Msg

from gateway.client import CommandResult, Mt4Client, Outcome
from tests.stack.crashing import POINTS
from tests.stack.test_program import Launcher, Program, Site, ended
from tests.support.nats_server import NatsServer
from tests.support.net import free_port
from tests.support.stack import eventually

BUY = {"symbol": "EURUSD", "order_type": "BUY", "lots": 0.1}
SUCCEEDED = frozenset({Outcome.SUCCEEDED})
DIALECTS = ("bridge", "metatrader4-server")
OR_UNKNOWN = frozenset({Outcome.SUCCEEDED, Outcome.UNKNOWN})
IN_DOUBT = ("sent_after", "put_after")
"""At the existing server: the journal says sent, and no reply says what became of it."""


each_dialect = pytest.mark.parametrize("dialect", DIALECTS)
# Seconds of work each, but a busy machine starts programs slowly.
pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]
PATIENCE_S = 60.0


async def says(program: Program, text: str) -> None:
    """Wait until a program has said something."""
    await eventually(lambda: program.says(text), PATIENCE_S)


class Relay:
    """A terminal with two gateways: when one is killed, the other one takes over."""

    def __init__(self, launcher: Launcher, nats_url: str, dialect: str) -> None:
        self.dialect = dialect
        self._launcher = launcher
        self.site = Site(launcher, nats_url, f"crash-{dialect.partition('-')[0]}")
        self._died = launcher.folder / f"died-{dialect}"
        self._died.mkdir()
        self.start_terminal()
        self.active = self._start_gateway()
        self.standby = self._start_gateway()

    def start_terminal(self, *options: str) -> Program:
        """Start the terminal on its files."""
        return self.site.start_sim("--dialect", self.dialect, *options)

    def _start_gateway(self) -> Program:
        settings = {
            "HA__LEASE_TTL_S": "1",
            "HTTP__ADDRESS": f"127.0.0.1:{free_port()}",
            "TERMINAL__PATIENCE_S": "0.3",
        }
        return self.site.start_gateway("tests.stack.crashing", str(self._died), **settings)

    async def is_ready(self) -> None:
        """Wait until one is active and the other one stands by."""
        both = (self.active, self.standby)
        for gateway in both:
            await says(gateway, "gateway_stands_by")
        await eventually(lambda: any("gateway_serving" in one.err for one in both), PATIENCE_S)
        if "gateway_serving" in self.standby.err:  # it was faster
            self.active, self.standby = self.standby, self.active
        await says(self.active, "terminal_greeted")

    async def is_taken_over(self) -> None:
        """Wait for the end of the active one, and until another serves, maybe the newest."""
        assert -signal.SIGKILL == await ended(self.active, PATIENCE_S)
        self.active, self.standby = self.standby, self._start_gateway()
        await self.is_ready()


Relays = dict[str, Relay]


@pytest.fixture(scope="module")
def relays(tmp_path_factory: pytest.TempPathFactory, nats_server: NatsServer) -> Iterator[Relays]:
    """Start both, beside each other."""
    launcher = Launcher(tmp_path_factory.mktemp("relays"))
    yield {name: Relay(launcher, nats_server.url, name) for name in DIALECTS}
    launcher.close()


class Told:
    """The results of one trade that reached the bus."""

    def __init__(self, client: Mt4Client, site: Site, id_: str) -> None:
        self.count = 0
        self._client = client
        self._subject = f"mt4.{site.name}.result.{client.client}.{id_}"

    async def listen(self) -> None:
        """Count from now on."""

        async def note(_: Msg) -> None:
            self.count += 1

        await self._client.connection.subscribe(self._subject, cb=note)
        await self._client.connection.flush()


async def until_no_job_is_left(client: Mt4Client, relay: Relay) -> None:
    """Wait until the queue is empty; tell what the gateway said if it never is."""
    jetstream = client.connection.jetstream()
    stream = f"mt4_{relay.site.name}_jobs"
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (await jetstream.stream_info(stream)).state.messages:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"the job stays:\n{relay.active.err}")


def outcomes_of(point: str, dialect: str) -> frozenset[Outcome]:
    """Say what a trade may end as: unknown only where the journal says sent, and nobody else."""
    is_in_doubt = dialect != "bridge" and point in IN_DOUBT
    return OR_UNKNOWN if is_in_doubt else SUCCEEDED


def orders_of(result: CommandResult) -> tuple[int, ...]:
    """Say how many orders a result allows."""
    return (1,) if result.succeeded else (0, 1)


@each_dialect
@pytest.mark.parametrize("point", POINTS)
async def test_job_survives_its_gateway(relays: Relays, point: str, dialect: str) -> None:
    """One result is told, it is true, and the job is gone."""
    relay, id_ = relays[dialect], f"{point}-job"
    await relay.is_ready()
    async with await relay.site.client() as client:
        before = relay.site.executed()
        told = Told(client, relay.site, id_)
        await told.listen()
        await client.submit("DO_ORDER_SEND", BUY, id_=id_)
        await relay.is_taken_over()
        await until_no_job_is_left(client, relay)
        result = await client.outcome_of(id_)

    assert isinstance(result, CommandResult)
    assert result.outcome in outcomes_of(point, dialect)
    assert relay.site.executed() - before in orders_of(result)
    assert 1 == told.count


@each_dialect
@pytest.mark.parametrize("point", ["accept_before", "sent_before", "finished_after"])
async def test_repeated_request_after_a_crash_is_the_same_trade(
    relays: Relays, point: str, dialect: str
) -> None:
    """No job: what was not recorded is forgotten, and its caller may safely say it again."""
    relay, id_ = relays[dialect], f"{point}-request"
    await relay.is_ready()
    async with await relay.site.client() as client:
        before = relay.site.executed()
        told = Told(client, relay.site, id_)
        await told.listen()
        asking = asyncio.create_task(client.order_send("EURUSD", "BUY", 0.1, id_=id_))
        await relay.is_taken_over()
        again = await client.order_send("EURUSD", "BUY", 0.1, id_=id_)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    assert again.outcome in outcomes_of(point, dialect)
    assert relay.site.executed() - before in orders_of(again)
    assert 1 == told.count


@pytest.mark.parametrize(
    ("dialect", "point", "outcome", "orders"),
    [
        ("bridge", "before_ledger", Outcome.SUCCEEDED, 1),
        ("bridge", "before_broker", Outcome.UNKNOWN, 0),  # who could tell it from the next one
        ("bridge", "after_broker", Outcome.SUCCEEDED, 1),
        ("bridge", "before_reply", Outcome.SUCCEEDED, 1),
        ("metatrader4-server", "before_broker", Outcome.UNKNOWN, 0),
        ("metatrader4-server", "after_broker", Outcome.SUCCEEDED, 1),
    ],
)
async def test_trade_survives_its_terminal(
    relays: Relays, dialect: str, point: str, outcome: Outcome, orders: int
) -> None:
    """Killed between any two of its steps, and started again on its files."""
    relay = relays[dialect]
    relay.site.sim.kill()
    dying = relay.start_terminal("--fault", f"die:DO_ORDER_SEND:{point}:1")
    await relay.is_ready()
    async with await relay.site.client() as client:
        before = relay.site.executed()
        told = Told(client, relay.site, point)
        await told.listen()
        ordering = asyncio.create_task(client.order_send("EURUSD", "BUY", 0.1, id_=point))
        assert -signal.SIGKILL == await ended(dying, PATIENCE_S)
        relay.start_terminal()
        result = await ordering

    assert outcome == result.outcome
    assert orders == relay.site.executed() - before
    assert 1 == told.count
