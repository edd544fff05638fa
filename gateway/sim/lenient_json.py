"""JSON as forgivingly as the existing server's parser takes it.

It accepts what is cut off, missing commas, trailing garbage and stray characters; it refuses what
starts like a literal and is none (`NaN`, `nope`), and a colon without a quoted key before it
(`{'a':1}`).
"""

import re

from gateway.sim.params import to_integer, to_number
from gateway.sim.wire import Json

_NUMBER = re.compile(r"[0-9+\-.][0-9+\-.eE]*")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_LITERALS: dict[str, Json] = {"true": True, "false": False, "null": None}
_PLAIN_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class LenientJsonError(ValueError):
    """Say that even this parser refuses the text."""


def parse_lenient(text: str) -> Json:
    """Return the first value of a text; nothing at all is None.

    Raises:
        LenientJsonError: See above.
    """
    try:
        return _Reader(text.split("\0", 1)[0]).value()
    except RecursionError as error:
        raise LenientJsonError("nested too deeply") from error


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def value(self) -> Json:
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "{":
                return self._object()
            if character == "[":
                return self._array()
            if character == '"':
                return self._string()
            if character in "tTfFnN":
                return self._literal()
            if character in "0123456789+-.":
                return self._number()
            if character in ":,]}":
                raise LenientJsonError(f"unexpected {character!r} at {self._at}")
            self._at += 1
        return None

    def _object(self) -> Json:
        self._at += 1
        members: dict[str, Json] = {}
        key: str | None = None
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "}":
                self._at += 1
                break
            if character == '"':
                key = self._string()
            elif character == ":":
                if not key:
                    raise LenientJsonError(f"colon without a key at {self._at}")
                self._at += 1
                members[key], key = self._member(), None
            elif character in "tTfFnN0123456789+-.[{":
                raise LenientJsonError(f"value without a key at {self._at}")
            else:
                self._at += 1
        return members

    def _member(self) -> Json:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1
        # A value that is not there (`{"a":}`) leaves the key without one, as if it were null.
        return None if self._text[self._at : self._at + 1] in ("}", ",") else self.value()

    def _array(self) -> Json:
        self._at += 1
        items: list[Json] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "]":
                self._at += 1
                break
            if character == ",":
                self._at += 1
            else:
                items.append(self.value())
        return items

    def _string(self) -> str:
        start = self._at + 1
        end = start
        while end < len(self._text) and self._text[end] != '"':
            end += 2 if self._text[end] == "\\" else 1
        self._at = min(end + 1, len(self._text))
        return _ESCAPE.sub(_unescaped, self._text[start:end])

    def _literal(self) -> Json:
        for word, value in _LITERALS.items():
            if self._text[self._at : self._at + len(word)].lower() == word:
                self._at += len(word)
                return value
        raise LenientJsonError(f"no literal at {self._at}")

    def _number(self) -> Json:
        match = _NUMBER.match(self._text, self._at)
        digits = match.group() if match else ""
        self._at += max(len(digits), 1)
        is_float = any(character in ".eE" for character in digits[1:])
        return to_number(digits) if is_float else to_integer(digits)


def _unescaped(match: re.Match[str]) -> str:
    escape = match.group(1)
    if len(escape) > 1:
        return chr(int(escape[1:], 16))
    return _PLAIN_ESCAPES.get(escape, escape)
