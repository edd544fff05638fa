"""The audit's records as a chain: each says its number, and a hash of the one before it. Pure.

Whoever changes a record breaks the chain at the next one of the same gateway; whoever takes one out
leaves a hole in the numbers. Nobody signs anything: who may write to the stream can write a whole
new chain, and a gateway's newest record has none behind it yet. What has aged out of the stream at
the front is not missed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.core.messages import Json
from gateway.envelope import Encoding, encode


class Chain:
    """Numbers the records of one gateway, and ties each to the one before it."""

    def __init__(self) -> None:
        self._number = 0
        self._before: str | None = None

    def written(self, record: Mapping[str, Json]) -> bytes:
        """Write the next record."""
        self._number += 1
        body = encode({**record, "number": self._number, "before": self._before}, Encoding.JSON)
        self._before = mark_of(body)
        return body


def mark_of(body: bytes) -> str:
    """Name a record by its bytes."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class _Link:
    source: str
    mark: str
    before: Json


@dataclass(slots=True)
class Findings:
    """What was found out about a chain of records.

    Attributes:
        missing: How many are not there up to the last of each gateway.
        changed: What is not as it was written, in words.
    """

    records: int = 0
    gateways: int = 0
    missing: int = 0
    changed: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing is missing or changed."""
        return not self.missing and not self.changed


def examine(records: Iterable[tuple[str, bytes]], *, have_aged: bool = False) -> Findings:
    """Look whether each record is what the next one of its gateway was written after.

    Args:
        records: Where each stands, and its bytes.
        have_aged: Older ones may be gone.
    """
    found = Findings()
    chains: dict[str, dict[int, _Link]] = {}
    for source, body in records:
        found.records += 1
        match _read(body):
            case {"gateway": str(gateway), "number": int(number), "before": before} if (
                number not in chains.get(gateway, {})
            ):
                link = _Link(source, mark_of(body), before)
                chains.setdefault(gateway, {})[number] = link
            case _:
                found.changed.append(f"{source} is nothing that a gateway has written there")
    found.gateways = len(chains)
    for chain in chains.values():
        found.missing += max(chain) - (min(chain) - 1 if have_aged else 0) - len(chain)
        found.changed += _broken(chain)
    return found


def _read(body: bytes) -> Json:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _broken(chain: Mapping[int, _Link]) -> Iterable[str]:
    for number, link in sorted(chain.items()):
        previous = chain.get(number - 1)
        if previous is not None and link.before != previous.mark:
            yield f"{previous.source} is not what {link.source} was written after"
        if number < 1 or (number == 1) is not (link.before is None):
            yield f"{link.source} is no record with its number"
