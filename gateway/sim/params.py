"""The parameters of a request, read the way of each dialect: coerced, or checked."""

import math
import re
from collections.abc import Mapping
from typing import Protocol

from gateway.sim.wire import Json, Refused, failure

_INTEGER_START = re.compile(r"\s*[+-]?\d{1,1000}")
_NUMBER_START = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_INT32 = 2**31
_LARGEST = 1e308


class Params(Protocol):
    """Read one request's parameters; a null counts as missing."""

    def has(self, key: str) -> bool:
        """Tell whether the parameter is there and not null."""

    def raw(self, key: str, default: Json) -> Json:
        """Return what stands there, be it null, or the default if nothing does."""

    def text(self, key: str) -> str:
        """Return a required string."""

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer; required unless a default is given."""

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number; required unless a default is given."""

    def flag(self, key: str) -> bool:
        """Return a truth value, False if missing."""

    def texts(self, key: str) -> list[str]:
        """Return a required, non-empty array of strings."""

    def items(self, key: str) -> "Params":
        """Return a required array as parameters named "0", "1", ..."""


class _Parameters:
    def __init__(self, values: Mapping[str, Json]) -> None:
        self._values = values

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def raw(self, key: str, default: Json) -> Json:
        return self._values.get(key, default)

    def _required(self, key: str) -> Json:
        value = self._values.get(key)
        if value is None:
            raise Refused(failure(f'Missing "{key}" param.'))
        return value

    def _array(self, key: str) -> list[Json]:
        value = self._required(key)
        if not isinstance(value, list):
            raise Refused(failure(f'Param "{key}" is not an array.'))
        return value

    def _filled_array(self, key: str) -> list[Json]:
        value = self._array(key)
        if not value:
            raise Refused(failure(f'Param "{key}[]" is empty.'))
        return value


class LenientParams(_Parameters):
    """Coerce like the existing server: a wrong type is never an error, often a dangerous value.

    `"SELL"` as an integer is 0, `true` as a number is 0, any string as a flag is true, a missing
    array element is 0 or "".
    """

    def text(self, key: str) -> str:
        """Return a required string."""
        return to_text(self._required(key))

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer, cut down to 32 bits as MQL4's cast does."""
        value = to_integer(self._required(key) if default is None else self._values.get(key))
        if default is not None and not self.has(key):
            return default
        return (value + 2**31) % 2**32 - 2**31

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number."""
        if default is not None and not self.has(key):
            return default
        return to_number(self._required(key))

    def flag(self, key: str) -> bool:
        """Return a truth value."""
        value = self._values.get(key)
        return (
            value if isinstance(value, bool) else isinstance(value, str) or bool(to_integer(value))
        )

    def texts(self, key: str) -> list[str]:
        """Return a non-empty array of strings."""
        return [to_text(item) for item in self._filled_array(key)]

    def items(self, key: str) -> "LenientParams":
        """Return an array whose missing elements read as 0 and ""."""
        value = self._required(key)
        return _Grown(value if isinstance(value, list) else [])


class _Grown(LenientParams):
    """An array that grows on reading, as `CJAVal::operator[]` does."""

    def __init__(self, values: list[Json]) -> None:
        super().__init__({str(index): value for index, value in enumerate(values)})

    def _required(self, key: str) -> Json:
        return self._values.get(key)


class StrictParams(_Parameters):
    """Take each parameter at its word and refuse what has another type."""

    def text(self, key: str) -> str:
        """Return a required string."""
        value = self._required(key)
        if not isinstance(value, str):
            raise Refused(failure(f'Param "{key}" is not a string.'))
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer of 32 bits."""
        if default is not None and not self.has(key):
            return default
        value = self._required(key)
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        if not is_integer or not -_INT32 <= int(str(value)) < _INT32:
            raise Refused(failure(f'Param "{key}" is not an integer.'))
        return int(str(value))

    def number(self, key: str, default: float | None = None) -> float:
        """Return a finite number."""
        if default is not None and not self.has(key):
            return default
        value = self._required(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refused(failure(f'Param "{key}" is not a number.'))
        return float(value)

    def flag(self, key: str) -> bool:
        """Return a truth value."""
        value = self._values.get(key)
        if value is not None and not isinstance(value, bool):
            raise Refused(failure(f'Param "{key}" is not a boolean.'))
        return bool(value)

    def texts(self, key: str) -> list[str]:
        """Return a non-empty array of strings."""
        values = self._filled_array(key)
        return [StrictParams({key: value}).text(key) for value in values]

    def items(self, key: str) -> "StrictParams":
        """Return an array; a missing element is refused when it is read."""
        return StrictParams({str(index): item for index, item in enumerate(self._array(key))})


def to_integer(value: Json) -> int:
    """Coerce as `CJAVal::ToInt`: the integer a string starts with, else 0."""
    if isinstance(value, bool) or value is None:
        return 0
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else 0
    match = _INTEGER_START.match(value) if isinstance(value, str) else None
    return int(match.group()) if match else 0


def to_number(value: Json) -> float:
    """Coerce as `CJAVal::ToDbl`: the number a string starts with, else 0."""
    if isinstance(value, bool) or value is None:
        return 0.0
    if isinstance(value, int | float):
        return float(value) if abs(value) < _LARGEST else math.copysign(math.inf, value)
    match = _NUMBER_START.match(value) if isinstance(value, str) else None
    return float(match.group()) if match else 0.0


def to_text(value: Json) -> str:
    """Coerce as `CJAVal::ToStr`: numbers as text, everything else that is no string as ""."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return ""
