"""Shell completion: what the TAB key offers, and the lines that switch it on."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gateway.actions import ACTIONS
from gateway.errors import ConfigError
from gateway.fields import OrderType
from gateway.mt4_enums import INDICATORS, MARKET_INFO, TIMEFRAMES

try:
    import argcomplete
    from argcomplete.completers import FilesCompleter, SuppressCompleter
    from argcomplete.shell_integration import shellcode
except ImportError as exc:
    raise ConfigError(["TAB needs argcomplete: pip install 'mt4-gateway[completion]'"]) from exc

PROGRAM = "mt4-gateway"

_VALUES: dict[str, Iterable[str]] = {
    "order_type": [kind.name.removeprefix("OP_") for kind in OrderType],
    "side": ["buy", "sell"],
    "timeframe": TIMEFRAMES,
    "indicator": INDICATORS,
    "property": MARKET_INFO,
}
"""What a parameter may be, where its action's model has a list of names."""


def script(shell: str) -> str:
    """Return the lines that a shell is to evaluate, once per session."""
    return shellcode([PROGRAM], shell=shell)


def answer(parser: argparse.ArgumentParser) -> None:
    """Tell the shell what may stand at the cursor, and end the process."""
    _choose_completers(parser)
    argcomplete.autocomplete(
        parser, always_complete_options="long", default_completer=SuppressCompleter()
    )


def _choose_completers(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        completer: object = None
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _choose_completers(command)
        elif action.type is Path:
            completer = FilesCompleter()
        elif action.dest == "params":
            completer = parameters
        if completer is not None:
            action.completer = completer  # type: ignore[attr-defined] # argcomplete looks there


def parameters(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Sequence[str]:
    """Offer `key=` for each parameter of the action that is not given yet, then its values."""
    action = ACTIONS.get(parsed_args.action)
    if action is None:
        return []
    key, equals, _value = prefix.partition("=")
    if equals:
        return [f"{key}={value}" for value in _values(action.parameters, key)]
    given = {str(text).partition("=")[0] for text in parsed_args.params or []}
    return [f"{name}=" for name in action.parameters.model_fields if name not in given]


def _values(model: Any, key: str) -> Iterable[str]:
    field = model.model_fields.get(key)
    if field is None:
        return []
    if field.annotation in (bool, bool | None):
        return ["true", "false"]
    if key == "property_name":
        return list(model.numbers)
    return _VALUES.get(key, [])
