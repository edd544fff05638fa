"""Reply patterns: JSON in which some values are words.

`any` anything, `int`, `real`, `text`, `yes-or-no`, `time` (the broker's clock as text), `~1.5`
about that number, `$name` the value that the first `$name` has met, `...` in an object: further
members.
A plain number is that number and of that type: `1` is no `1.0`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r'\s*(?:(?P<text>"(?:\\.|[^"\\])*")|(?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)'
    r"|(?P<about>~-?\d+(?:\.\d+)?)|(?P<name>\$\w+)|(?P<more>\.\.\.)|(?P<word>[a-z][a-z-]*)"
    r"|(?P<mark>[{}\[\],:]))"
)
_CONSTANTS = {"true": True, "false": False, "null": None}
_TIME = re.compile(r"\d{4}\.\d\d\.\d\d \d\d:\d\d:\d\d")
_NEAR = 1e-6
Names = dict[str, Any]


class PatternError(ValueError):
    """Say where a pattern cannot be read."""


@dataclass(frozen=True, slots=True)
class Word:
    """Stand for values: `any`, `int`, ..."""

    word: str


@dataclass(frozen=True, slots=True)
class About:
    """Stand for numbers near one."""

    number: float


@dataclass(frozen=True, slots=True)
class Name:
    """Stand for the value that has this name."""

    name: str


MORE = Word("...")
_WORDS: dict[str, Callable[[Any], bool]] = {
    "any": lambda value: True,
    "int": lambda value: type(value) is int,
    "real": lambda value: type(value) is float,
    "text": lambda value: isinstance(value, str) and value != "",
    "yes-or-no": lambda value: isinstance(value, bool),
    "time": lambda value: isinstance(value, str) and _TIME.fullmatch(value) is not None,
}


def parse(text: str) -> Any:
    """Return a pattern: JSON's types, with `Word`, `About` and `Name` among them.

    Raises:
        PatternError: It is none.
    """
    tokens = _Tokens(text)
    pattern = _value(tokens)
    if tokens.at < len(text.rstrip()):
        raise PatternError(f"more after the end at {tokens.at}: {text}")
    return pattern


class _Tokens:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def next(self) -> tuple[str, str]:
        match = _TOKEN.match(self.text, self.at)
        if match is None or match.lastgroup is None:
            raise PatternError(f"not a pattern at {self.at}: {self.text[self.at :]}")
        self.at = match.end()
        return match.lastgroup, match[match.lastgroup]

    def takes(self, mark: str) -> bool:
        before = self.at
        if self.at < len(self.text.rstrip()) and self.next() == ("mark", mark):
            return True
        self.at = before
        return False


def _value(tokens: _Tokens) -> Any:
    kind, token = tokens.next()
    match kind:
        case "text" | "number":
            return json.loads(token)
        case "about":
            return About(float(token[1:]))
        case "name":
            return Name(token[1:])
        case "word" if token in _CONSTANTS:
            return _CONSTANTS[token]
        case "word" if token in _WORDS:
            return Word(token)
        case "mark" if token == "[":
            return _list(tokens)
        case "mark" if token == "{":
            return _object(tokens)
    raise PatternError(f"{token!r} before {tokens.at} in {tokens.text}")


def _list(tokens: _Tokens) -> list[Any]:
    items: list[Any] = []
    while not tokens.takes("]"):
        items.append(_value(tokens))
        tokens.takes(",")
    return items


def _object(tokens: _Tokens) -> dict[str, Any]:
    members: dict[str, Any] = {}
    while not tokens.takes("}"):
        kind, token = tokens.next()
        if kind == "more":
            members["..."] = MORE
        elif kind == "text" and tokens.takes(":"):
            members[json.loads(token)] = _value(tokens)
        else:
            raise PatternError(f"no member before {tokens.at} in {tokens.text}")
        tokens.takes(",")
    return members


def filled(pattern: Any, names: Names) -> Any:
    """Return a request: a pattern of plain JSON and names that have a value.

    Raises:
        PatternError: Another word, or a name without a value.
    """
    match pattern:
        case Name(name) if name in names:
            return names[name]
        case Word() | About() | Name():
            raise PatternError(f"{pattern} is no value")
        case dict():
            return {key: filled(value, names) for key, value in pattern.items()}
        case list():
            return [filled(item, names) for item in pattern]
    return pattern


def mismatch(pattern: Any, value: Any, names: Names, where: str = "reply") -> str | None:
    """Return how a value differs from a pattern, None if it does not; names get their values."""
    match pattern:
        case Word(word):
            fits = _WORDS[word](value)
        case About(number):
            fits = isinstance(value, int | float) and abs(value - number) < _NEAR
        case Name(name):
            fits = names.setdefault(name, value) == value
            pattern = names[name]
        case dict():
            return _object_mismatch(pattern, value, names, where)
        case list():
            return _list_mismatch(pattern, value, names, where)
        case _:
            fits = type(pattern) is type(value) and pattern == value
    return None if fits else f"{where} is {value!r}, expected {pattern!r}"


def _object_mismatch(pattern: dict[str, Any], value: Any, names: Names, where: str) -> str | None:
    if not isinstance(value, dict):
        return f"{where} is {value!r}, expected an object"
    expected = {key: member for key, member in pattern.items() if member is not MORE}
    for key, member in expected.items():
        if key not in value:
            return f"{where} has no {key!r}: {value}"
        if (said := mismatch(member, value[key], names, f"{where}.{key}")) is not None:
            return said
    surplus = [key for key in value if key not in expected]
    return f"{where} has also {surplus}" if surplus and len(expected) == len(pattern) else None


def _list_mismatch(pattern: list[Any], value: Any, names: Names, where: str) -> str | None:
    if not isinstance(value, list) or len(value) != len(pattern):
        return f"{where} is {value!r}, expected a list of {len(pattern)}"
    said = (
        mismatch(member, item, names, f"{where}[{at}]")
        for at, (member, item) in enumerate(zip(pattern, value, strict=True))
    )
    return next((text for text in said if text is not None), None)
