"""The bridge's own keys on a request and on a reply: read, checked, built.

Source: docs/protocol.md "Requests" and "Replies".
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, auto

from gateway.sim.wire import Body, Json

ID_CHARACTERS = 97
DIGEST_CHARACTERS = 32
TOKEN_CHARACTERS = 14
BASE32 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
MAX_REQUEST_BYTES = 65_536
MAX_JOURNAL = 2**53
MAX_DEPTH = 32
_INT64 = 2**63
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')


class State(StrEnum):
    """Say what is known about a command."""

    DONE = auto()
    REJECTED = auto()
    NOT_NOW = auto()
    SEALED = auto()
    IN_DOUBT = auto()
    NOT_SEEN = auto()
    FENCED = auto()


class Fence(StrEnum):
    """Say why a frame was not acted on."""

    STALE_SESSION = auto()
    STALE_EPOCH = auto()
    STALE_SEQ = auto()
    ID_CONFLICT = auto()
    BAD_FRAMES = auto()
    BAD_REQUEST = auto()
    STALE_ATTEMPT = auto()
    SAFE_MODE = auto()
    PLAIN_CLIENTS = auto()


@dataclass(frozen=True, slots=True)
class Frame:
    """Hold a trade's or a RESOLVE's bridge keys, all present and well typed."""

    action: str
    id: str
    attempt: int
    digest: str
    session: str
    epoch: int
    seq: int
    ledger: str
    not_after_ms: int
    journal: int
    values: Mapping[str, Json]

    @property
    def is_resolve(self) -> bool:
        """Tell whether the frame only asks."""
        return self.action == "RESOLVE"


def parse_request(body: bytes) -> dict[str, Json] | None:
    """Return the one JSON object of a request, None if it is anything else."""
    if len(body) > MAX_REQUEST_BYTES:
        return None
    try:
        text = body.decode()
        values = json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_whole)
        _refuse_what_mql4_cannot_hold(text)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def is_from_gateway(values: Mapping[str, Json]) -> bool:
    """Tell whether a request has a bridge key, be it null; plain clients know none of them."""
    return not _BRIDGE_KEYS.keys().isdisjoint(values)


def read_frame(values: Mapping[str, Json]) -> Frame | str:
    """Return the frame, or what is wrong with its bridge keys."""
    keys = {**_DEFAULTS, **values}
    for key, is_right in _BRIDGE_KEYS.items():
        if key not in keys or not is_right(keys[key]):
            return f'Param "{key}" is missing or of a wrong type.'

    def text(key: str) -> str:
        return str(keys[key])

    def number(key: str) -> int:
        return int(str(keys[key]))

    return Frame(
        action=text("action"),
        id=text("id"),
        attempt=number("attempt"),
        digest=text("digest"),
        session=text("session"),
        epoch=number("epoch"),
        seq=number("seq"),
        ledger=text("ledger"),
        not_after_ms=number("not_after"),
        journal=number("journal"),
        values=values,
    )


def echoed_keys(values: Mapping[str, Json]) -> Body:
    """Return `id` and `attempt` for the reply, as far as the request has usable ones."""
    return {key: values[key] for key in ("id", "attempt") if _BRIDGE_KEYS[key](values.get(key))}


def fenced_body(reason: Fence, message: str) -> Body:
    """Return the body of a reply to a frame that was not acted on."""
    return {"error_message": message, "state": State.FENCED.value, "reason": reason.value}


def is_token(comment: str) -> bool:
    """Tell whether a comment begins with a command's token: `~` and 13 characters of base32."""
    token = comment[:TOKEN_CHARACTERS]
    return len(token) == TOKEN_CHARACTERS and token[0] == "~" and set(token[1:]) <= BASE32


def is_journal(value: Json) -> bool:
    """Tell whether a value can be a sequence of a gateway's journal; 0 is before the first."""
    return _is_integer(value) and 0 <= int(str(value)) <= MAX_JOURNAL


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _whole(text: str) -> float:
    """Read a whole number; one beyond 64 bits is a real number, which fits no integer."""
    value = _finite(text)
    if abs(value) > _INT64:
        return value
    return int(text) if -_INT64 <= int(text) < _INT64 else value


def _refuse_what_mql4_cannot_hold(text: str) -> None:
    """Look at valid JSON as written: of two members with one name `json` keeps only the last."""
    depth = 0
    for bracket in _TEXT.sub("", text):
        depth += (bracket in "[{") - (bracket in "]}")
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
    for written in _TEXT.findall(text):
        decoded = json.loads(written)
        decoded.encode()  # half a surrogate pair is no text
        if "\0" in decoded:
            raise ValueError("a text holds U+0000")


def _is_id(value: Json) -> bool:
    # Characters are counted as MQL4 does, in units of UTF-16.
    if not isinstance(value, str) or len(value.encode("utf-16-le")) > 2 * ID_CHARACTERS:
        return False
    client, slash, name = value.partition("/")
    return bool(client and slash and name)


def _is_count(value: Json) -> bool:
    return _is_integer(value) and 1 <= int(str(value)) < 2**31


def _is_integer(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Json) -> bool:
    return isinstance(value, str)


def _is_digest(value: Json) -> bool:
    return (
        isinstance(value, str)
        and len(value) == DIGEST_CHARACTERS
        and all(character in "0123456789abcdefABCDEF" for character in value)
    )


_BRIDGE_KEYS = {
    "id": _is_id,
    "attempt": _is_count,
    "digest": _is_digest,
    "session": _is_text,
    "epoch": _is_integer,
    "seq": _is_integer,
    "ledger": _is_text,
    "not_after": _is_integer,
    "journal": is_journal,
}
_DEFAULTS: Mapping[str, Json] = {"journal": 0}
