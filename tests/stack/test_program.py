"""The program as its users start it: processes, signals, exit codes, what is printed.

Each process writes to files; waiting is for what it says there, and everything is bounded.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import nats
import pytest

from gateway.client import CommandResult, Mt4Client, Outcome
from tests.support.nats_server import NatsServer
from tests.support.net import free_port
from tests.support.nkeys import Key
from tests.support.stack import eventually

PATIENCE_S = 20.0
ENDS_WITHIN_S = 5.0
BUY = ("DO_ORDER_SEND", "symbol=EURUSD", "order_type=BUY", "lots=0.1")


class Program:
    """One `python -m ...`, with what it has said so far."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self._arguments = arguments
        self._out, self._err = folder / "out", folder / "err"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MT4GW_")}
        environment |= {f"MT4GW_{name}": value for name, value in settings.items()}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
            )

    @property
    def out(self) -> str:
        """What it has printed."""
        return self._out.read_text("utf-8")

    @property
    def err(self) -> str:
        """What it has logged or complained about."""
        return self._err.read_text("utf-8")

    @property
    def is_running(self) -> bool:
        """Tell whether it lives."""
        return self._process.poll() is None

    def says(self, text: str) -> bool:
        """Tell whether a text has been said; fail if it can never be any more."""
        if text in self.out or text in self.err:
            return True
        assert self.is_running, f"{self._arguments} ended without {text!r}:\n{self.out}{self.err}"
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, within_s: float = PATIENCE_S) -> int:
        """Wait for its end and return its exit code."""
        return self._process.wait(within_s)

    def kill(self) -> None:
        """End it as a power cut would."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    @property
    def json(self) -> Any:
        """What it has printed, as one JSON value."""
        return json.loads(self.out)


class Launcher:
    """Starts programs, and ends all that are left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = count()
        self._programs: list[Program] = []

    def start(self, *arguments: str, module: str = "gateway", **settings: str) -> Program:
        """Start a program with `MT4GW_` settings."""
        folder = self.folder / str(next(self._numbers))
        folder.mkdir()
        self._programs.append(Program(folder, module, *arguments, **settings))
        return self._programs[-1]

    def close(self) -> None:
        """Kill what still runs."""
        for program in self._programs:
            program.kill()


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    """Start programs for one test."""
    launcher = Launcher(tmp_path)
    yield launcher
    launcher.close()


async def said(program: Program, text: str) -> None:
    """Wait until a program has said something."""
    await eventually(lambda: program.says(text), PATIENCE_S)


async def ended(program: Program, within_s: float = PATIENCE_S) -> int:
    """Wait for a program's end and return its exit code."""
    return await asyncio.to_thread(program.wait, within_s)


class Site:
    """A simulated terminal and its gateway, each a process."""

    def __init__(self, launcher: Launcher, nats_url: str, name: str) -> None:
        self.launcher = launcher
        self.nats_url = nats_url
        self.name = name
        self.truth = launcher.folder / f"{name}.truth"
        self.state = launcher.folder / f"{name}.state"
        self._endpoints = [f"tcp://127.0.0.1:{free_port()}" for _ in range(2)]
        self.where = ("--nats", nats_url, "--terminal", name)
        self.http = f"127.0.0.1:{free_port()}"

    def start_sim(self, *options: str) -> Program:
        """Start the terminal; again on the same ports, ledger and state."""
        request, tick = self._endpoints
        files = ("--truth", str(self.truth), "--state", str(self.state))
        ledger = ("--ledger", str(self.launcher.folder / f"{self.name}.ledger"))
        self.sim = self.launcher.start(
            *("--request-endpoint", request, "--tick-endpoint", tick, *files, *ledger),
            *("--tick-interval", "0.05", *options),
            module="gateway.sim",  # what `gateway sim` runs; starts in a third of the time
        )
        return self.sim

    def start_gateway(self, *program: str, **settings: str) -> Program:
        """Start the gateway, impatient; `program` is another module that runs it."""
        module, *rest = program or ("gateway",)
        request, tick = self._endpoints
        defaults = {
            "TERMINAL__NAME": self.name,
            "TERMINAL__REQUEST_ENDPOINT": request,
            "TERMINAL__TICK_ENDPOINT": tick,
            "TERMINAL__REPLY_TIMEOUT_S": "0.3",
            "TERMINAL__HANG_TIMEOUT_S": "1",
            "TERMINAL__SETTLE_S": "0.3",
            "TERMINAL__SEARCH_GAP_S": "0.1",
            "TERMINAL__DOWN_GRACE_S": "20",
            "NATS__SERVERS": self.nats_url,
            "POLICY__TRADING": "true",
            "HTTP__ADDRESS": self.http,
        }
        self.gateway = self.launcher.start(*rest, "run", module=module, **(defaults | settings))
        return self.gateway

    async def is_up(self) -> None:
        """Wait until commands can flow."""
        await said(self.gateway, "terminal_greeted")
        await said(self.gateway, "gateway_serving")

    def on_bus(self, *arguments: str) -> Program:
        """Start one of the commands that go over the bus."""
        command, *rest = arguments
        return self.launcher.start(command, *self.where, *rest)

    async def client(self) -> Mt4Client:
        """Connect the client library."""
        return await Mt4Client.connect(self.nats_url, terminal=self.name, client="tester")

    def facts(self, fact: str) -> list[dict[str, Any]]:
        """Read what really happened in the terminal."""
        if not self.truth.exists():
            return []
        lines = self.truth.read_text("utf-8").splitlines(keepends=True)
        records = [json.loads(line) for line in lines if line.endswith("\n")]
        return [record for record in records if record["fact"] == fact]

    async def executes(self, fact: str) -> None:
        """Wait until the terminal has an order in work."""
        await eventually(
            lambda: any(f["action"] == "DO_ORDER_SEND" for f in self.facts(fact)), PATIENCE_S
        )

    def executed(self) -> int:
        """Count the orders that the broker has opened."""
        return sum(record["code"] == 0 for record in self.facts("executed"))

    def get(self, path: str) -> tuple[int, Any]:
        """Ask the gateway over HTTP."""
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)
        except OSError:
            return 0, None


# ---- one command each -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def module_launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Start programs that several tests use."""
    launcher = Launcher(tmp_path_factory.mktemp("programs"))
    yield launcher
    launcher.close()


@pytest.fixture(scope="module")
def send_without_nats(module_launcher: Launcher) -> Program:
    """Send into nothing; it takes its time to give up, so it is started before others."""
    nowhere = f"nats://127.0.0.1:{free_port()}"
    return module_launcher.start("send", "GET_ORDERS", "--nats", nowhere)


@pytest.fixture(scope="module")
def bridge_processes(
    module_launcher: Launcher, nats_server: NatsServer, send_without_nats: Program
) -> Site:
    """Start our terminal and its gateway."""
    site = Site(module_launcher, nats_server.url, "program-bridge")
    site.start_sim()
    site.start_gateway()
    return site


@pytest.fixture(scope="module")
def existing_processes(module_launcher: Launcher, nats_server: NatsServer) -> Site:
    """Start the existing server and its gateway."""
    site = Site(module_launcher, nats_server.url, "program-existing")
    site.start_sim("--dialect", "metatrader4-server")
    site.start_gateway()
    return site


@pytest.fixture
async def bridge(bridge_processes: Site) -> Site:
    """Give a running site with our terminal."""
    await bridge_processes.is_up()
    return bridge_processes


@pytest.fixture
async def existing(existing_processes: Site) -> Site:
    """Give a running site with the existing server."""
    await existing_processes.is_up()
    return existing_processes


async def test_send_prints_results_of_our_terminal(bridge: Site) -> None:
    """A read and a trade succeed: exit code 0, and the result on standard output."""
    read = bridge.on_bus("send", "GET_ACCOUNT_INFO")
    trade = bridge.on_bus("send", *BUY, "--id", "from-shell", "--json")
    codes = [await ended(program) for program in (read, trade)]

    assert [0, 0] == codes
    assert "USD" == read.json["response"]["currency"]
    assert 1 < len(read.out.splitlines())
    assert ["from-shell", "cli", "succeeded"] == [
        trade.json[key] for key in ("id", "client", "outcome")
    ]
    assert 1 == len(trade.out.splitlines())
    assert "" == read.err + trade.err


async def test_send_prints_results_of_the_existing_server(existing: Site) -> None:
    """The same commands, the other dialect."""
    read = existing.on_bus("send", "GET_SYMBOL_TICK", "symbol=EURUSD")
    trade = existing.on_bus("send", *BUY, "--json")
    codes = [await ended(program) for program in (read, trade)]

    assert [0, 0] == codes
    assert read.json["response"]["bid"] > 0
    assert "succeeded" == trade.json["outcome"]


async def test_exit_codes_tell_programs_what_happened(
    bridge: Site, send_without_nats: Program
) -> None:
    """0 ok, 1 not succeeded, 2 usage, 3 no link; a complaint is one line and no traceback."""
    denied = bridge.on_bus("send", "DO_ORDER_SEND", "symbol=EURUSD", "lots=-1")
    not_a_parameter = bridge.on_bus("send", "GET_ORDERS", "nonsense")
    nobody_there = bridge.on_bus("send", "GET_ORDERS", "--terminal", "nobody")
    trade_to_nobody = bridge.on_bus("send", *BUY, "--terminal", "nobody", "--timeout", "1")
    programs = (denied, not_a_parameter, nobody_there, trade_to_nobody)
    codes = [await ended(program) for program in (*programs, send_without_nats)]

    assert [1, 2, 3, 3, 3] == codes
    assert "denied" == denied.json["outcome"]
    assert "nonsense" in not_a_parameter.err
    assert "no gateway listens" in nobody_there.err
    assert "no connection to NATS" in send_without_nats.err
    for program in (not_a_parameter, nobody_there, trade_to_nobody, send_without_nats):
        assert "" == program.out
        assert 1 == len(program.err.splitlines())


async def test_trade_whose_answer_is_not_awaited_is_no_success_and_told_with_its_id(
    launcher: Launcher, nats_server: NatsServer
) -> None:
    """Ctrl-C or silence after it was sent: exit code 3, and how to ask what became of it."""
    connection = await nats.connect(nats_server.url)
    try:
        heard = await connection.subscribe("mt4.silent.trade.>")
        site = Site(launcher, nats_server.url, "silent")
        interrupted = site.on_bus("send", *BUY)
        first = json.loads((await heard.next_msg(PATIENCE_S)).data)
        interrupted.signal(signal.SIGINT)
        unanswered = site.on_bus("send", *BUY, "--timeout", "0.1")
        second = json.loads((await heard.next_msg(PATIENCE_S)).data)
        codes = [await ended(program) for program in (interrupted, unanswered)]
    finally:
        await connection.close()

    assert [3, 3] == codes
    for program, command in ((interrupted, first), (unanswered, second)):
        assert 1 == len(program.err.splitlines())
        assert f"what became of it: mt4-gateway explain cli/{command['id']}" in program.err


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "1e300", "soon"])
async def test_timeout_that_is_no_duration_is_a_usage_error(
    seconds: str, launcher: Launcher
) -> None:
    """Before anything is sent, and without a traceback."""
    program = launcher.start("send", *BUY, f"--timeout={seconds}")

    assert 2 == await ended(program)
    assert f"argument --timeout: invalid number of seconds value: '{seconds}'" in program.err


async def test_explain_says_that_a_client_has_no_trade(bridge: Site) -> None:
    """An id alone is taken for a client: silence would look like success."""
    program = bridge.on_bus("explain", "breakout-1")

    assert 1 == await ended(program)
    expected = "no trade of client breakout-1 in the last day; a trade is CLIENT/ID"
    assert f"mt4-gateway: {expected}\n" == program.err


async def test_status_of_a_running_gateway_is_printed(bridge: Site) -> None:
    """For a person, and as one JSON object."""
    for_people = bridge.on_bus("status")
    for_programs = bridge.on_bus("status", "--json")
    codes = [await ended(program) for program in (for_people, for_programs)]

    assert [0, 0] == codes
    assert "terminal  program-bridge, link up, bridge" in for_people.out
    assert "up" == for_programs.json["terminal"]["link"]
    assert {"depth": 0, "capacity": 256} == for_programs.json["queues"]["trade"]


async def test_status_says_whose_account_is_not_known_yet(site: Site) -> None:
    """No terminal has been there; the existing server tells it only after a while."""
    site.start_gateway()
    await said(site.gateway, "gateway_serving")
    status = site.on_bus("status")

    assert 0 == await ended(status)
    assert "account   not known yet\n" in status.out


async def test_explain_prints_the_story_of_a_trade(bridge: Site) -> None:
    """One whole, or a line each for all of a client's."""
    who = ("--client", "teller")
    assert 0 == await ended(bridge.on_bus("send", *BUY, "--id", "told", *who))
    story, listed = bridge.on_bus("explain", "teller/told"), bridge.on_bus("explain", *who)
    codes = [await ended(program) for program in (story, listed)]

    assert [0, 0] == codes
    assert story.out.startswith("teller/told  DO_ORDER_SEND  succeeded\nasked for   {")
    assert "decided by  reply to command: done" in story.out
    assert "sent, attempt 1 to session" in story.out
    assert "teller/told  DO_ORDER_SEND  succeeded" == listed.out.strip()


async def test_ticks_end_well_when_the_reader_has_had_enough(bridge: Site) -> None:
    """`mt4-gateway ticks | head -3`: no traceback, exit code 0."""
    lines, code, complaint = await asyncio.to_thread(
        head, "ticks", "--json", "EURUSD", "USDJPY", *bridge.where
    )

    assert {"EURUSD", "USDJPY"} >= {json.loads(line)["symbol"] for line in lines}
    assert 0 == code
    assert b"" == complaint


def head(*arguments: str) -> tuple[list[bytes], int, bytes]:
    """Read three lines of a program's output and hang up."""
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        deadline = threading.Timer(PATIENCE_S, program.kill)
        deadline.start()
        lines = [program.stdout.readline() for _ in range(3)]
        program.stdout.close()
        complaint = program.stderr.read()
        code = program.wait()
        deadline.cancel()
    return lines, code, complaint


async def test_results_and_events_are_followed_until_interrupted(bridge: Site) -> None:
    """Every client's results; Ctrl-C is a good end."""
    results = bridge.on_bus("results", "--json")
    events = bridge.on_bus("events", "order", "--json")
    lines = bridge.on_bus("events")
    client = await bridge.client()
    ids = (f"followed-{number}" for number in count())
    async with client:
        # Orders until both have subscribed and seen one: a subscriber announces nothing.
        async with asyncio.timeout(PATIENCE_S):
            while not (results.out and events.out and "order " in lines.out):
                order = await client.order_send("EURUSD", "BUY", 0.1, id_=next(ids))
                assert order.succeeded
                await client.order_close(order.response["ticket"])
    for program in (results, events, lines):
        program.signal(signal.SIGINT)
    codes = [await ended(program, ENDS_WITHIN_S) for program in (results, events, lines)]

    assert [0, 0, 0] == codes
    assert "tester" == json.loads(results.out.splitlines()[0])["client"]
    event = json.loads(events.out.splitlines()[0])

    assert ("order", "EURUSD") == (event["kind"], event["order"]["symbol"])
    assert "symbol=EURUSD" in next(line for line in lines.out.splitlines() if "order " in line)
    assert "" == results.err + events.err + lines.err


# ---- without extras -----------------------------------------------------------------------------

BARE = "tests.support.bare"


async def test_gateway_trades_without_its_extras(site: Site) -> None:
    """What is installed for everybody is enough: a terminal, a gateway and a client."""
    site.start_sim()
    site.start_gateway(BARE)
    await site.is_up()
    trade = site.launcher.start("send", *site.where, *BUY, module=BARE)

    assert (0, "", 1) == (await ended(trade), trade.err, site.executed())


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (("completion", "bash"), "TAB needs argcomplete: pip install 'mt4-gateway[completion]'"),
        (("demo",), "the demo needs rich: pip install 'mt4-gateway[demo]'"),
        (("run",), "nats: what signs is missing: pip install 'mt4-gateway[nkeys]'"),
    ],
)
async def test_extra_that_is_missing_is_named(
    arguments: tuple[str, ...], missing: str, launcher: Launcher
) -> None:
    """A configuration error, with what to install."""
    seed = launcher.folder / "seed"
    seed.write_text(Key("user").seed, encoding="utf-8")
    settings = {
        "NATS__NKEY": str(seed),
        "TERMINAL__REQUEST_ENDPOINT": "tcp://127.0.0.1:1",
        "HTTP__ADDRESS": "127.0.0.1:0",
    }
    program = launcher.start(*arguments, module=BARE, **settings)

    assert (2, f"configuration: {missing}") == (await ended(program), program.err.splitlines()[-1])
    assert "WARNING" not in program.err


# ---- configuration ------------------------------------------------------------------------------


SECRET = "hunter-2"


async def test_bad_configuration_is_told_whole_and_without_secrets(launcher: Launcher) -> None:
    """`config check` and `run` report all problems at once; others may be shown what they say."""
    file = launcher.folder / "bad.toml"
    file.write_text(
        f"""
        [terminal]
        name = "No Alias"
        reply_timeout_s = -1
        colour = "red"
        [nats]
        servers = []
        user = "me"
        password = "{SECRET}"
        token = "{SECRET}"
        [http]
        address = "nowhere"
        """
    )
    wrong = {"LOG__LEVEL": "loud", "NONSENSE": "1"}
    check = launcher.start("config", "check", "--config", str(file), **wrong)
    run = launcher.start("run", "--config", str(file), **wrong)
    codes = [await ended(program) for program in (check, run)]

    assert [2, 2] == codes
    assert check.err == run.err
    assert "" == check.out
    for name in (
        "terminal.name",
        "terminal.reply_timeout_s",
        "terminal.colour",
        "nats.servers",
        "http.address",
        "log.level",
        "MT4GW_NONSENSE",
    ):
        assert f"configuration: {name}" in check.err
    assert SECRET not in check.err


async def test_config_check_shows_what_is_in_force_without_secrets(launcher: Launcher) -> None:
    """Neither a password nor one inside a server's address is printed."""
    check = launcher.start(
        *("config", "check"),
        NATS__SERVERS=f"nats://me:{SECRET}@one:4222,nats://two:4222",
        NATS__TOKEN=SECRET,
        TERMINAL__NAME="mine",
    )

    assert 0 == await ended(check)
    assert "mine" == check.json["terminal"]["name"]
    assert "nats://two:4222" == check.json["nats"]["servers"][1]
    assert SECRET not in check.out + check.err


async def test_config_schema_is_a_json_schema(launcher: Launcher) -> None:
    """Editors complete and check the file with it."""
    schema_of = launcher.start("config", "schema")

    assert 0 == await ended(schema_of)
    schema = schema_of.json
    assert "object" == schema["type"]
    assert schema["additionalProperties"] is False
    assert {"terminal", "nats", "policy"} <= set(schema["properties"])
    references = set(re.findall(r'"\$ref": "#/\$defs/(\w+)"', schema_of.out))
    assert references == set(schema["$defs"])
    for section in schema["$defs"].values():
        for key, value in section["properties"].items():
            assert {"type", "anyOf", "enum", "const"} & set(value), key
            assert value["description"]


# ---- signals ------------------------------------------------------------------------------------


@pytest.fixture
def site(launcher: Launcher, nats_server: NatsServer) -> Site:
    """Give a site of the test's own, nothing started yet."""
    return Site(launcher, nats_server.url, f"program-{free_port()}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_in_the_middle_of_an_order_ends_after_its_result(
    site: Site, number: signal.Signals
) -> None:
    """The result is told to the caller and published; then the end is a good one.

    The terminal, signalled after it, ends well, too.
    """
    site.start_sim("--fault", "slow:DO_ORDER_SEND:1:500ms")
    site.start_gateway(TERMINAL__REPLY_TIMEOUT_S="5", TERMINAL__HANG_TIMEOUT_S="10")
    await site.is_up()
    async with await site.client() as client:
        published: list[CommandResult] = []
        following = asyncio.create_task(follow_results(client, published))
        ordering = asyncio.create_task(client.order_send("EURUSD", "BUY", 0.1, id_="mine"))
        await site.executes("received")
        site.gateway.signal(number)
        result = await ordering
        site.sim.signal(number)
        codes = [await ended(program, ENDS_WITHIN_S) for program in (site.gateway, site.sim)]
        await eventually(lambda: published)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    assert result.succeeded
    assert [result] == published
    assert [0, 0] == codes
    assert 1 == site.executed()
    assert "Traceback" not in site.gateway.err + site.sim.err


async def follow_results(client: Mt4Client, published: list[CommandResult]) -> None:
    """Note results."""
    async for result in client.results():
        published.append(result)


async def test_signal_ends_a_gateway_that_has_no_links(launcher: Launcher) -> None:
    """Neither NATS nor a terminal is there: it waits, says so, and can be stopped."""
    site = Site(launcher, f"nats://127.0.0.1:{free_port()}", "alone")
    site.start_gateway()
    await eventually(lambda: site.get("/healthz")[0], PATIENCE_S)
    healthy, ready = site.get("/healthz"), site.get("/readyz")
    site.gateway.signal(signal.SIGTERM)
    code = await ended(site.gateway, ENDS_WITHIN_S)

    assert 200 == healthy[0]
    assert 503 == ready[0]
    assert "no connection to NATS" in ready[1]["reasons"][0]
    assert 0 == code
    assert "Traceback" not in site.gateway.err


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
async def test_hangup_reads_the_policy_again_and_keeps_the_last_good_one(site: Site) -> None:
    """What changed is logged; a file that cannot be used is reported, and changes nothing."""
    file = site.truth.with_suffix(".toml")
    file.write_text("[policy]\nmax_lots_per_order = 0.5\n")
    site.start_sim()
    site.start_gateway(CONFIG=str(file))
    await site.is_up()
    async with await site.client() as client:
        before = await client.order_send("EURUSD", "BUY", 0.3)
        file.write_text("[policy]\nmax_lots_per_order = 0.2\nsymbols = ['EURUSD']\n")
        site.gateway.signal(signal.SIGHUP)
        await said(site.gateway, "policy_reloaded changes=2")
        after = await client.order_send("EURUSD", "BUY", 0.3)
        file.write_text("[policy]\nmax_lots_per_order = -1\n[nonsense]\n")
        site.gateway.signal(signal.SIGHUP)
        await said(site.gateway, "policy_not_reloaded")
        still = await client.order_send("EURUSD", "BUY", 0.3)
        problem = (await client.status())["policy_problem"]

    assert before.succeeded
    assert "trading=true clients=everybody" in site.gateway.err
    assert "policy_changed policy.max_lots_per_order: 0.5 -> 0.2" in site.gateway.err
    assert "policy_changed policy.symbols: none -> ['EURUSD']" in site.gateway.err
    assert after.error is not None
    assert after.error["message"].endswith("; policy.max_lots_per_order = 0.2")
    assert after.error == still.error
    assert "policy.max_lots_per_order" in problem
    assert "nonsense: unknown key" in problem


async def test_readiness_follows_nats_and_a_signal_ends_it_in_any_state(
    launcher: Launcher, own_nats_server: NatsServer
) -> None:
    """Started before its bus and stopped after it: not ready, ready, not ready, a good end."""
    own_nats_server.stop()
    site = Site(launcher, own_nats_server.url, "early")
    site.start_gateway()
    await eventually(lambda: site.get("/readyz")[0] == 503, PATIENCE_S)
    own_nats_server.start()
    await eventually(lambda: site.get("/readyz")[0] == 200, PATIENCE_S)
    own_nats_server.kill()
    await eventually(lambda: site.get("/readyz")[0] == 503, PATIENCE_S)
    site.gateway.signal(signal.SIGINT)

    assert 0 == await ended(site.gateway, ENDS_WITHIN_S)
    assert "Traceback" not in site.gateway.err


# ---- the terminal dies ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "fault", "moment"),
    [
        ("bridge", "slow:DO_ORDER_SEND:1:60s", "executed"),
        ("bridge", "delay:DO_ORDER_SEND:1:60s", "received"),
        ("metatrader4-server", "slow:DO_ORDER_SEND:1:60s", "executed"),
    ],
)
async def test_terminal_killed_in_the_middle_of_an_order_opens_it_once(
    site: Site, dialect: str, fault: str, moment: str
) -> None:
    """Before the broker acted or after: restarted on the same files, one order, its result."""
    site.start_sim("--dialect", dialect, "--fault", fault)
    site.start_gateway()
    await site.is_up()
    async with await site.client() as client:
        ordering = asyncio.create_task(client.order_send("EURUSD", "BUY", 0.1))
        await site.executes(moment)
        site.sim.kill()
        site.start_sim("--dialect", dialect)
        result = await ordering
        orders = await client.orders()

    assert Outcome.SUCCEEDED == result.outcome
    assert [result.response["ticket"]] == [order["ticket"] for order in orders]
    assert 1 == site.executed()


async def test_terminal_that_died_between_broker_and_ledger_finds_its_order(site: Site) -> None:
    """The ledger knows only that it was started: the order is found by its token."""
    site.start_sim("--fault", "die:DO_ORDER_SEND:after_broker:1")
    site.start_gateway()
    await site.is_up()
    async with await site.client() as client:
        ordering = asyncio.create_task(client.order_send("EURUSD", "BUY", 0.1))
        died_with = await ended(site.sim)
        site.start_sim()
        result = await ordering
        orders = await client.orders()

    assert -signal.SIGKILL == died_with
    assert Outcome.SUCCEEDED == result.outcome
    assert result.resolved
    assert [result.response["ticket"]] == [order["ticket"] for order in orders]
    assert 1 == site.executed()
