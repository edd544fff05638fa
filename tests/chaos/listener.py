"""Every message on the bus against the schema that users are told, while everything goes wrong."""

from __future__ import annotations

from collections import Counter, OrderedDict

import nats
from jsonschema.exceptions import ValidationError
from nats.aio.client import Client
from nats.aio.msg import Msg

from gateway.envelope import CONTENT_TYPE_HEADER, decode_published, encoding_of
from gateway.errors import RemoteProtocolError
from tests.chaos.history import History
from tests.support.schemas import check

BASE_TOKENS = 2
"""Prefix and terminal stand in front of what a subject is about."""

REMEMBERED = 10_000
ANSWERS = {"command": "state", "job": "stored"}
TOLD = frozenset({"tick", "audit"})


class Listener:
    """Hear everything below one prefix, and the answers on all inboxes.

    Attributes:
        heard: How many messages of each schema there were.
        misfits: What did not fit its schema, in words.
    """

    def __init__(self) -> None:
        self.heard: Counter[str] = Counter()
        self.misfits: list[str] = []
        self._awaited: OrderedDict[str, str] = OrderedDict()
        self._connection: Client | None = None

    async def start(self, nats_url: str, base: str) -> None:
        """Begin to hear; goes on after the bus was gone."""
        self._connection = await nats.connect(
            nats_url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_ignore
        )
        await self._connection.subscribe(f"{base}.>", cb=self._message)
        await self._connection.subscribe("_INBOX.>", cb=self._answer)

    async def stop(self, history: History) -> None:
        """Hear no more, and hand over what was found."""
        history.heard, history.misfits = self.heard, self.misfits
        if self._connection is not None:
            await self._connection.close()

    async def _message(self, msg: Msg) -> None:
        kind, *rest = msg.subject.split(".")[BASE_TOKENS:]
        match kind:
            case "query" | "trade" | "job":
                name = f"{rest[-1]}.request"
                self._await(msg, ANSWERS.get(kind, f"{rest[-1]}.result"))
            case "command":
                self._await(msg, ANSWERS[kind])
                return
            case "result":
                name = "result"
            case "event":
                name = f"event.{rest[0]}"
            case _ if kind in TOLD:
                name = kind
            case _:
                return  # control bodies may be empty, dead letters are anything
        self._check(name, msg)

    def _await(self, msg: Msg, name: str) -> None:
        """Remember what is answered to a request."""
        if msg.reply:
            self._awaited[msg.reply] = name
            if len(self._awaited) > REMEMBERED:
                self._awaited.popitem(last=False)

    async def _answer(self, msg: Msg) -> None:
        name = self._awaited.pop(msg.subject, None)
        if name is not None and "Status" not in (msg.headers or {}):
            self._check(name, msg)

    def _check(self, name: str, msg: Msg) -> None:
        self.heard[name] += 1
        try:
            kind = (msg.headers or {}).get(CONTENT_TYPE_HEADER)
            check(name, decode_published(msg.data, encoding_of(msg.data, kind)))
        except (ValidationError, RemoteProtocolError) as exc:
            self.misfits.append(f"{msg.subject} is no {name}: {str(exc).splitlines()[0]}")


async def _ignore(_: Exception) -> None:
    """The bus is killed on purpose."""
