"""The command line: `mt4-gateway COMMAND`. Thin: it parses, calls, and prints.

Exit codes: 0 ok, 1 the command's outcome was not `succeeded`, 2 usage or configuration,
3 no link.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway import __version__
from gateway.actions import ACTIONS
from gateway.config import Config, load
from gateway.core.messages import Effect, Json
from gateway.errors import ConfigError, GatewayError

OK, NOT_SUCCEEDED, USAGE, NO_LINK = 0, 1, 2, 3
CONFIG_VARIABLE = "MT4GW_CONFIG"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = _parser()
    args, rest = parser.parse_known_args(arguments)
    if rest:  # parameters after an option: argparse takes them for strangers
        if not hasattr(args, "params") or any(text.startswith("-") for text in rest):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        args.params += rest
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except ConfigError as exc:
        for problem in exc.problems:
            print(f"configuration: {problem}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return OK
    except BrokenPipeError:  # `mt4-gateway ticks | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mt4-gateway", description="MetaTrader 4 on NATS.")
    parser.add_argument("--version", action="version", version=f"mt4-gateway {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_service_commands(commands)
    _add_bus_commands(commands)
    _add_config_commands(commands)
    return parser


def _add_service_commands(commands: Any) -> None:
    run = commands.add_parser("run", help="the service")
    run.add_argument("--config", type=Path, help=f"TOML file (or {CONFIG_VARIABLE})")
    run.set_defaults(command=_run)

    demo = commands.add_parser("demo", help="NATS, a simulated terminal and the gateway, at once")
    demo.add_argument("--seconds", type=float, help="run so long and judge (DEMO_SECONDS)")
    demo.add_argument("--fault", action="append", default=[], help="break something: see `sim`")
    demo.set_defaults(command=_demo)

    doctor = commands.add_parser("doctor", help="look at everything, and say what to do")
    doctor.add_argument("--config", type=Path, help=f"TOML file (or {CONFIG_VARIABLE})")
    doctor.add_argument("--json", action="store_true", help="one JSON object per line")
    doctor.add_argument(
        "--terminal",
        action="store_true",
        dest="walks",
        help="walk through what only a live terminal shows",
    )
    walk = doctor.add_argument_group("with --terminal")
    walk.add_argument("--yes", action="store_true", help="send its small order, on a demo account")
    walk.add_argument("--symbol", help="what it buys; default: the one with most ticks")
    walk.add_argument("--wait", type=float, default=180.0, metavar="SECONDS", help="for your hands")
    doctor.set_defaults(command=_doctor, nats=None, terminal=None, client="doctor")

    sim = commands.add_parser("sim", help="the simulated terminal alone")
    if "sim" in sys.argv[1:2]:  # its options cost an import that no other command needs
        from gateway.sim.program import add_arguments  # noqa: PLC0415

        add_arguments(sim)
    sim.set_defaults(command=_sim)


def _add_bus_commands(commands: Any) -> None:
    bus = argparse.ArgumentParser(add_help=False)
    bus.add_argument("--config", type=Path, help="take servers, login and names from this file")
    bus.add_argument("--nats", metavar="URL", help="instead of nats.servers")
    bus.add_argument("--terminal", metavar="ALIAS", help="instead of terminal.name")
    bus.add_argument("--client", default="cli", metavar="ALIAS")
    bus.add_argument("--json", action="store_true", help="one JSON object per line")

    send = commands.add_parser("send", parents=[bus], help="one command; prints its result")
    send.add_argument("action", choices=sorted(ACTIONS), metavar="ACTION")
    send.add_argument("params", nargs="*", metavar="key=value")
    send.add_argument("--id", help="the same id again is the same trade")
    send.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS")
    send.set_defaults(command=_on_bus(_send))

    ticks = commands.add_parser("ticks", parents=[bus], help="follow prices")
    ticks.add_argument("symbols", nargs="*", metavar="SYMBOL")
    ticks.set_defaults(command=_on_bus(_ticks))

    results = commands.add_parser("results", parents=[bus], help="follow results of all clients")
    results.set_defaults(command=_on_bus(_results))

    events = commands.add_parser("events", parents=[bus], help="follow events")
    events.add_argument("kind", nargs="?", default="*", help="terminal, order, account, gateway")
    events.set_defaults(command=_on_bus(_events))

    status = commands.add_parser("status", parents=[bus], help="how the running gateway is")
    status.set_defaults(command=_on_bus(_status))


def _add_config_commands(commands: Any) -> None:
    config = commands.add_parser("config", help="check a configuration, or print its schema")
    verbs = config.add_subparsers(required=True, metavar="VERB")
    check = verbs.add_parser("check", help="report every problem; print what is in force")
    check.add_argument("--config", type=Path, help=f"TOML file (or {CONFIG_VARIABLE})")
    check.set_defaults(command=_config_check)
    verbs.add_parser("schema", help="print the JSON Schema").set_defaults(command=_config_schema)


# ---- the service ------------------------------------------------------------------------


def _configuration(args: argparse.Namespace) -> Config:
    environment = {k: v for k, v in os.environ.items() if k != CONFIG_VARIABLE}
    named = os.environ.get(CONFIG_VARIABLE)
    return load(args.config or (Path(named) if named else None), environment)


def _run(args: argparse.Namespace) -> int:
    config = _configuration(args)
    from gateway import app, logs  # noqa: PLC0415 - `send` must not wait for the web server

    logs.configure(config.log)
    try:
        app.run(config)
    except ConfigError:
        raise
    except GatewayError as exc:
        print(f"mt4-gateway: {exc}", file=sys.stderr)
        return NO_LINK
    return OK


def _demo(args: argparse.Namespace) -> int:
    from gateway.demo import run_demo  # noqa: PLC0415 - needs the extra `demo`

    return run_demo(args.seconds, args.fault)


def _doctor(args: argparse.Namespace) -> int:
    if args.walks:
        return _on_bus(_walk_terminal)(args)
    from gateway.doctor import examine  # noqa: PLC0415

    return asyncio.run(_report(examine(_configuration(args)), as_json=args.json))


async def _walk_terminal(client: Any, args: argparse.Namespace) -> int:
    from gateway.terminal_check import Patience, walk  # noqa: PLC0415

    async def may_trade(what: str) -> bool:
        if args.yes or args.json or not sys.stdin.isatty():
            return bool(args.yes)
        said = await asyncio.to_thread(input, f"May I {what}? [y/N] ")
        return said.strip().lower() in ("y", "yes")

    patience = Patience(hand_s=args.wait)
    findings = walk(client, may_trade, symbol=args.symbol, patience=patience)
    return await _report(findings, as_json=args.json)


async def _report(findings: AsyncIterator[Any], *, as_json: bool) -> int:
    """Print findings as they come, and return the exit code of the worst."""
    worst = OK
    async for finding in findings:
        worst = NO_LINK if finding.level == "failed" else worst
        if as_json:
            print(json.dumps(asdict(finding)), flush=True)
        else:
            cure = f"\n         -> {finding.cure}" if finding.cure else ""
            print(f"{finding.level:<8} {finding.what}{cure}", flush=True)
    return worst


def _sim(args: argparse.Namespace) -> int:
    from gateway.sim.program import run  # noqa: PLC0415

    return asyncio.run(run(args))


# ---- over the bus -----------------------------------------------------------------------


def _on_bus(
    command: Callable[[Any, argparse.Namespace], Awaitable[int]],
) -> Callable[[argparse.Namespace], int]:
    """Give a command a connected client; no connection is exit code 3."""

    async def connected(args: argparse.Namespace) -> int:
        from gateway.client import Mt4Client  # noqa: PLC0415 - other commands need no NATS
        from gateway.nats_login import connect_options  # noqa: PLC0415

        config = _configuration(args)
        async with await Mt4Client.connect(
            args.nats or list(config.nats.servers),
            terminal=args.terminal or config.terminal.name,
            client=args.client,
            prefix=config.bus.prefix,
            **connect_options(config.nats),
        ) as client:
            return await command(client, args)

    def run(args: argparse.Namespace) -> int:
        from gateway.client.errors import ClientError  # noqa: PLC0415

        try:
            return asyncio.run(connected(args))
        except ClientError as exc:
            print(f"mt4-gateway: {exc}", file=sys.stderr)
            return NO_LINK

    return run


async def _send(client: Any, args: argparse.Namespace) -> int:
    try:
        params = dict(_parameter(text) for text in args.params)
    except ValueError as exc:
        print(f"mt4-gateway: {exc}", file=sys.stderr)
        return USAGE
    if ACTIONS[args.action].effect is Effect.TRADE:
        result = await client.trade(args.action, params, timeout_s=args.timeout, id_=args.id)
    else:
        result = await client.query(args.action, params, timeout_s=args.timeout)
    print(json.dumps(result.body, indent=None if args.json else 2))
    return OK if result.succeeded else NOT_SUCCEEDED


def _parameter(text: str) -> tuple[str, Json]:
    """Read `key=value`: JSON where it is JSON, else text; a list may be written `a,b`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError(f"{text!r} is not key=value")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value.split(",") if key in ("names", "symbols") else value


async def _ticks(client: Any, args: argparse.Namespace) -> int:
    async for tick in client.ticks(*args.symbols):
        if args.json:
            print(json.dumps({name: getattr(tick, name) for name in tick.__slots__}), flush=True)
        else:
            gap = f"  ({tick.missed} missed)" if tick.missed else ""
            print(
                f"{tick.symbol:<12} {tick.bid:>12} {tick.ask!s:>12}  #{tick.seq}{gap}", flush=True
            )
    return OK


async def _results(client: Any, args: argparse.Namespace) -> int:
    async for result in client.results("*"):
        if args.json:
            print(json.dumps(result.body), flush=True)
        else:
            reason = f"  {result.error['message']}" if result.error else ""
            name = f"{result.client}/{result.id}"
            print(f"{name}  {result.action}  {result.outcome}{reason}", flush=True)
    return OK


async def _events(client: Any, args: argparse.Namespace) -> int:
    async for event in client.events(args.kind):
        print(json.dumps(event), flush=True)
    return OK


async def _status(client: Any, args: argparse.Namespace) -> int:
    said = await client.status()
    if args.json:
        print(json.dumps(said))
        return OK
    terminal, nats, account = said["terminal"], said["nats"], said["terminal"]["account"] or {}
    print(f"gateway   {said['version']}, {said['role']}, trading {_on_off(said['trading'])}")
    print(f"terminal  {terminal['name']}, link {terminal['link']}, {terminal['dialect']}")
    print(f"account   {account.get('login', '-')} at {account.get('server', '-')}")
    print(f"nats      {nats['server']}, round trip {1000 * (nats['round_trip_s'] or 0):.1f} ms")
    waiting = [f"{lane} {queue['depth']}" for lane, queue in said["queues"].items()]
    print(f"waiting   {', '.join(waiting)}")
    return OK


def _on_off(value: bool) -> str:
    return "on" if value else "off"


# ---- configuration ----------------------------------------------------------------------


def _config_check(args: argparse.Namespace) -> int:
    config = _configuration(args)
    print(config.model_dump_json(indent=2))
    return OK


def _config_schema(_: argparse.Namespace) -> int:
    print(json.dumps(Config.model_json_schema(), indent=2))
    return OK
