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
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway import __version__, send_words
from gateway.actions import ACTIONS
from gateway.config import Config, load
from gateway.core.messages import CommandId, Effect, Json
from gateway.envelope import CLIENT_PATTERN, new_id
from gateway.errors import ConfigError, GatewayError, JournalAway

CONTROLS = {
    "halt": "stop trading, until `resume`",
    "resume": "allow trading again",
    "stepdown": "let a standby take over",
}
OK, NOT_SUCCEEDED, USAGE, NO_LINK = 0, 1, 2, 3
LONGEST_S = 1e9
CONFIG_VARIABLE = "MT4GW_CONFIG"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what TAB could mean
        from gateway.completion import answer  # noqa: PLC0415 - only then

        answer(parser)
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
    _add_security_commands(commands)
    _add_config_commands(commands)
    return parser


def _add_service_commands(commands: Any) -> None:
    run = commands.add_parser("run", help="the service")
    run.add_argument("--config", type=Path, help=f"TOML file (or {CONFIG_VARIABLE})")
    run.set_defaults(command=_run)

    demo = commands.add_parser("demo", help="NATS, a simulated terminal and the gateway, at once")
    demo.add_argument("--seconds", type=_seconds, help="run so long and judge (DEMO_SECONDS)")
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
    walk.add_argument(
        "--wait", type=_seconds, default=180.0, metavar="SECONDS", help="for your hands"
    )
    doctor.set_defaults(command=_doctor, nats=None, terminal=None, client="doctor")

    sim = commands.add_parser("sim", help="the simulated terminal alone")
    words = os.environ.get("COMP_LINE", "").split() or sys.argv
    if "sim" in words[1:2]:  # its options cost an import that no other command needs
        from gateway.sim.program import add_arguments  # noqa: PLC0415

        add_arguments(sim)
    sim.set_defaults(command=_sim)


def _add_bus_commands(commands: Any) -> None:
    bus = argparse.ArgumentParser(add_help=False)
    bus.add_argument("--config", type=Path, help="take servers, login and names from this file")
    bus.add_argument("--nats", metavar="URL", help="instead of nats.servers")
    bus.add_argument("--terminal", metavar="ALIAS", help="instead of terminal.name")
    bus.add_argument("--client", default="cli", metavar="ALIAS", help="who you are (cli)")
    bus.add_argument("--json", action="store_true", help="one JSON object per line")

    send = commands.add_parser(
        "send",
        parents=[bus],
        help="one command; prints its result",
        add_help=False,
        epilog=send_words.catalogue(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    send.add_argument(
        "-h", "--help", action=_SendHelp, nargs=0, help="this; or ACTION's parameters"
    )
    send.add_argument("action", choices=sorted(ACTIONS), metavar="ACTION")
    send.add_argument("params", nargs="*", metavar="key=value")
    send.add_argument("--id", help="the same id again is the same trade")
    send.add_argument(
        "--durable", action="store_true", help="as a job: stored first, done when it can be"
    )
    send.add_argument(
        "--timeout",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="its deadline from now (10)",
    )
    send.set_defaults(command=_send)

    ticks = commands.add_parser("ticks", parents=[bus], help="follow prices")
    ticks.add_argument("symbols", nargs="*", metavar="SYMBOL")
    ticks.set_defaults(command=_on_bus(_ticks))

    results = commands.add_parser("results", parents=[bus], help="follow results of all clients")
    results.set_defaults(command=_on_bus(_results))

    events = commands.add_parser("events", parents=[bus], help="follow events")
    kinds = ["terminal", "order", "account", "gateway"]
    events.add_argument("kind", nargs="?", choices=kinds, metavar="KIND", help=", ".join(kinds))
    events.set_defaults(command=_on_bus(_events))

    explain = commands.add_parser(
        "explain", parents=[bus], help="what became of a trade, and why, from the streams"
    )
    explain.add_argument(
        "trade", nargs="?", metavar="CLIENT/ID", help="left out: all of --client of the last day"
    )
    explain.add_argument(
        "--chain", action="store_true", help="instead: is the audit whole, no record changed"
    )
    explain.set_defaults(command=_on_bus(_explain))

    for verb, text in CONTROLS.items():
        control = commands.add_parser(verb, parents=[bus], help=text)
        if verb == "halt":
            control.add_argument("--reason", help="is told to whoever asks why")
        control.set_defaults(command=_on_bus(_control), verb=verb, reason=None)

    status = commands.add_parser("status", parents=[bus], help="how the running gateway is")
    status.set_defaults(command=_on_bus(_status))


def _add_security_commands(commands: Any) -> None:
    acl = commands.add_parser(
        "acl",
        help="permissions for the NATS server, by role",
        epilog="Without --role, one user of each role, as a whole block `authorization`.",
    )
    acl.add_argument("--config", type=Path, help="take prefix and terminal from this file")
    acl.add_argument(
        "--role", choices=["viewer", "ticks", "strategy", "risk", "operator", "gateway"]
    )
    acl.add_argument("--client", metavar="ALIAS", help="the user's name; default: the role's")
    acl.add_argument(
        "--symbols", nargs="+", default=[], metavar="SYMBOL", help="whose ticks; default: all"
    )
    acl.add_argument(
        "--jetstream",
        action="store_true",
        help="also jobs and last ticks; takes as much trust as the gateway has: docs/security.md",
    )
    acl.add_argument(
        "--accounts",
        metavar="ROLE:ALIAS",
        nargs="+",
        help="a NATS account for each of these users, beside the gateway's: jobs are safe then",
    )
    acl.add_argument("--json", action="store_true", help="the rights alone, as one JSON object")
    acl.set_defaults(command=_acl)

    keys = commands.add_parser("keys", help="a pair of keys, to encrypt the way to the terminal")
    keys.add_argument("name", metavar="NAME", help="writes NAME.secret and NAME.public")
    keys.add_argument("--folder", type=Path, default=Path(), help="where (here)")
    keys.set_defaults(command=_keys)


def _add_config_commands(commands: Any) -> None:
    config = commands.add_parser("config", help="check a configuration, or print its schema")
    verbs = config.add_subparsers(required=True, metavar="VERB")
    check = verbs.add_parser("check", help="report every problem; print what is in force")
    check.add_argument("--config", type=Path, help=f"TOML file (or {CONFIG_VARIABLE})")
    check.set_defaults(command=_config_check)
    verbs.add_parser("schema", help="print the JSON Schema").set_defaults(command=_config_schema)

    asyncapi = commands.add_parser("asyncapi", help="print the AsyncAPI 3 document of the bus")
    asyncapi.add_argument(
        "--schema", metavar="NAME", help="one JSON Schema instead: GET_ORDER.result"
    )
    asyncapi.set_defaults(command=_asyncapi)

    completion = commands.add_parser("completion", help="let your shell complete words with TAB")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    completion.set_defaults(command=_completion)


# ---- the service ------------------------------------------------------------------------


def _configuration(args: argparse.Namespace) -> Config:
    environment = {k: v for k, v in os.environ.items() if k != CONFIG_VARIABLE}
    return load(_configuration_file(args), environment)


def _configuration_file(args: argparse.Namespace) -> Path | None:
    named = os.environ.get(CONFIG_VARIABLE)
    return args.config or (Path(named) if named else None)


def _run(args: argparse.Namespace) -> int:
    config = _configuration(args)
    from gateway import app, logs, policy_reload  # noqa: PLC0415 - `send` needs no web server

    logs.configure(config.log)
    reload = policy_reload.Reload(config, lambda: _configuration(args), _configuration_file(args))
    try:
        app.run(config, reload)
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
    from gateway import app, doctor  # noqa: PLC0415

    config = _configuration(args)
    factory = app.loop_factory(config.terminal.transport)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_report(doctor.examine(config), as_json=args.json))


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
    from gateway.sim.program import serve  # noqa: PLC0415

    return serve(args)


# ---- over the bus -----------------------------------------------------------------------


def _on_bus(
    command: Callable[[Any, argparse.Namespace], Awaitable[int]],
) -> Callable[[argparse.Namespace], int]:
    """Give a command a connected client; no connection is exit code 3."""

    async def connected(args: argparse.Namespace) -> int:
        from gateway.client import Mt4Client  # noqa: PLC0415 - other commands need no NATS
        from gateway.nats_login import Login  # noqa: PLC0415

        config = _configuration(args)
        async with await Mt4Client.connect(
            args.nats or list(config.nats.servers),
            terminal=args.terminal or config.terminal.name,
            client=args.client,
            prefix=config.bus.prefix,
            login=Login(config.nats),
            inbox_prefix=config.nats.inbox_prefix,
        ) as client:
            return await command(client, args)

    def run(args: argparse.Namespace) -> int:
        from gateway.client.errors import ClientError  # noqa: PLC0415

        try:
            return asyncio.run(connected(args))
        except (ClientError, JournalAway) as exc:
            print(f"mt4-gateway: {exc}", file=sys.stderr)
            return NO_LINK

    return run


def _seconds(text: str) -> float:
    """Read a duration; what argparse says of a ValueError names the option and the text."""
    seconds = float(text)
    if not 0 <= seconds <= LONGEST_S:
        raise ValueError
    return seconds


_seconds.__name__ = "number of seconds"


class _SendHelp(argparse.Action):
    """Explain the action that is named already, or else the command."""

    def __call__(self, parser: Any, namespace: Any, *_: Any) -> None:
        action = ACTIONS.get(namespace.action or "")
        print(send_words.explain(action) if action else parser.format_help())
        parser.exit()


def _send(args: argparse.Namespace) -> int:
    if args.durable and ACTIONS[args.action].effect is not Effect.TRADE:
        print(f"mt4-gateway: {args.action} is a read; only trades are jobs", file=sys.stderr)
        return USAGE
    args.id = args.id or new_id()
    try:
        args.params = send_words.read(ACTIONS[args.action], args.params)
    except ValueError as exc:
        print(f"mt4-gateway: {exc}", file=sys.stderr)
        return USAGE
    try:
        return _on_bus(_send_command)(args)
    except KeyboardInterrupt:  # it may have been sent: no success
        print(f"mt4-gateway: interrupted{_how_to_ask(args)}", file=sys.stderr)
        return NO_LINK


def _how_to_ask(args: argparse.Namespace) -> str:
    """Say how to ask for a trade whose result was not awaited."""
    if ACTIONS[args.action].effect is not Effect.TRADE:
        return ""
    return f"; what became of it: mt4-gateway explain {args.client}/{args.id}"


async def _send_command(client: Any, args: argparse.Namespace) -> int:
    from gateway.client.errors import NoAnswer, NobodyListens  # noqa: PLC0415

    try:
        return await _sent(client, args)
    except NobodyListens:
        raise
    except NoAnswer as exc:
        raise NoAnswer(exc.id, f"{exc}{_how_to_ask(args)}") from exc


async def _sent(client: Any, args: argparse.Namespace) -> int:
    params = args.params
    if ACTIONS[args.action].effect is not Effect.TRADE:
        result = await client.query(args.action, params, timeout_s=args.timeout)
    elif args.durable:
        result = await client.job(args.action, params, timeout_s=args.timeout, id_=args.id)
    else:
        result = await client.trade(args.action, params, timeout_s=args.timeout, id_=args.id)
    print(json.dumps(result.body, indent=None if args.json else 2))
    return OK if result.succeeded else NOT_SUCCEEDED


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
    async for event in client.events(args.kind or "*"):
        print(json.dumps(event) if args.json else _event_line(event), flush=True)
    return OK


async def _explain(client: Any, args: argparse.Namespace) -> int:
    from gateway.explain import LATELY_S, Archive  # noqa: PLC0415 - other commands need none

    archive = Archive(client.connection, client.subjects)
    if args.chain:
        return _show_chain(await archive.examine(), as_json=args.json)
    asker, _, id_ = (args.trade or f"{args.client}/").partition("/")
    ids = [id_] if id_ else await archive.ids(asker, time.time() - LATELY_S)
    is_known = bool(ids) or args.trade is None
    if not ids:
        hint = "" if "/" in (args.trade or "/") else "; a trade is CLIENT/ID"
        print(f"mt4-gateway: no trade of client {asker} in the last day{hint}", file=sys.stderr)
    for one in ids:
        found = await archive.explain(CommandId(asker, one))
        is_known &= found.is_known
        lines = found.lines() if id_ else [found.line()]
        print(json.dumps(found.body()) if args.json else "\n".join(lines), flush=True)
    return OK if is_known else NOT_SUCCEEDED


def _show_chain(found: Any, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(asdict(found)))
    else:
        what = "whole" if found.is_whole else f"{found.missing} missing"
        print(f"audit     {found.records} records of {found.gateways} gateways, {what}")
        for one in found.changed:
            print(f"CHANGED   {one}")
    return OK if found.is_whole else NOT_SUCCEEDED


async def _control(client: Any, args: argparse.Namespace) -> int:
    said = await client.control(args.verb, reason=args.reason)
    if "error" in said:
        print(f"mt4-gateway: {said['error']}", file=sys.stderr)
        return NOT_SUCCEEDED
    if args.json:
        print(json.dumps(said))
    else:
        halted = f"halted: {said['halted']}" if said["halted"] else "not halted"
        print(f"gateway   {said['instance']}, {said['role']}, {halted}")
    return OK


def _event_line(event: dict[str, Json]) -> str:
    """Show an event in one line: its kind, what happened, and what it is about."""
    order = event.get("order")
    told: dict[str, Json] = {k: v for k, v in event.items() if k not in ("kind", "event", "order")}
    if isinstance(order, dict):
        names = ("ticket", "order_type_name", "symbol", "lots", "open_price", "close_price", "sl")
        told |= {key: order.get(key) for key in (*names, "tp", "profit")}
    shown = "  ".join(f"{key}={value}" for key, value in told.items() if value is not None)
    return f"{event['kind']:<9} {event.get('event', ''):<16} {shown}"


async def _status(client: Any, args: argparse.Namespace) -> int:
    said = await client.status()
    if args.json:
        print(json.dumps(said))
        return OK
    terminal, nats, account = said["terminal"], said["nats"], said["terminal"]["account"] or {}
    print(f"gateway   {said['version']}, {said['role']}, trading {_on_off(said['trading'])}")
    print(f"journal   {said['journal']}")
    if said["halted"]:
        print(f"halted    {said['halted']}")
    if said["policy_problem"]:
        print(f"policy    NOT RELOADED, the last good one holds: {said['policy_problem']}")
    print(f"terminal  {terminal['name']}, link {terminal['link']}, {terminal['dialect']}")
    whose = f"{account.get('login', '-')} at {account.get('server', '-')}"
    print(f"account   {whose if account else 'not known yet'}")
    print(f"nats      {nats['server']}, round trip {1000 * (nats['round_trip_s'] or 0):.1f} ms")
    waiting = [f"{lane} {queue['depth']}" for lane, queue in said["queues"].items()]
    print(f"waiting   {', '.join(waiting)}")
    return OK


def _on_off(value: bool) -> str:
    return "on" if value else "off"


# ---- security ---------------------------------------------------------------------------


def _acl(args: argparse.Namespace) -> int:
    from gateway import acl  # noqa: PLC0415 - other commands need none of it

    name = args.client
    if name is not None and (args.role is None or CLIENT_PATTERN.fullmatch(name) is None):
        print(
            "mt4-gateway: --client goes with --role, and must be [a-z0-9-]{1,32}", file=sys.stderr
        )
        return USAGE
    site = acl.Site.of(_configuration(args))
    if args.accounts:
        return _acl_accounts(site, args.accounts, args.symbols)
    roles = [acl.Role(args.role)] if args.role else list(acl.Role)
    granted = {
        role: acl.rights(role, site, name or role, args.symbols, jetstream=args.jetstream)
        for role in roles
    }
    if args.json:
        print(json.dumps({str(role): asdict(one) for role, one in granted.items()}, indent=2))
        return OK
    entries = [acl.user_entry(role, args.client or str(role), one) for role, one in granted.items()]
    print(entries[0] if args.role else acl.configuration(entries))
    return OK


def _acl_accounts(site: Any, named: list[str], symbols: list[str]) -> int:
    from gateway import acl  # noqa: PLC0415 - other commands need none of it

    users = []
    for one in named:
        role, _, client = one.partition(":")
        if role not in list(acl.Role)[:-1] or CLIENT_PATTERN.fullmatch(client) is None:
            print(f"mt4-gateway: --accounts {one!r}: write ROLE:ALIAS", file=sys.stderr)
            return USAGE
        granted = acl.rights(acl.Role(role), site, client, symbols, jetstream=True)
        users.append((acl.Role(role), client, granted))
    print(acl.accounts(site, users))
    return OK


def _keys(args: argparse.Namespace) -> int:
    from gateway import keys  # noqa: PLC0415 - other commands need no ZeroMQ

    pair = keys.make(args.folder, args.name)
    print(f"{pair.public}  {pair.public_file} (public; give it to the other side)")
    print(f"{' ' * len(pair.public)}  {pair.secret_file} (secret; it stays here)")
    return OK


# ---- configuration ----------------------------------------------------------------------


def _config_check(args: argparse.Namespace) -> int:
    config = _configuration(args)
    print(config.model_dump_json(indent=2))
    return OK


def _completion(args: argparse.Namespace) -> int:
    from gateway.completion import script  # noqa: PLC0415 - other commands need none

    print(script(args.shell))
    return OK


def _asyncapi(args: argparse.Namespace) -> int:
    from gateway import asyncapi, schemas  # noqa: PLC0415 - other commands need none

    if args.schema is None:
        print(json.dumps(asyncapi.document(), indent=2))
        return OK
    known = schemas.schemas()
    if args.schema not in known:
        names = ", ".join(known)
        print(f"mt4-gateway: no schema {args.schema!r}; known: {names}", file=sys.stderr)
        return USAGE
    print(json.dumps(schemas.schema_of(args.schema), indent=2))
    return OK


def _config_schema(_: argparse.Namespace) -> int:
    print(json.dumps(Config.model_json_schema(), indent=2))
    return OK
