"""nats-py's client with what a login needs, and one that no message ends.

* What a server complains of never closes it for good: it connects again, for the secret may be
  another by then. Both nats-py and the servers end a connection whose user was changed.
* Secrets and certificates are read anew for every connection (`Login`), so files can be replaced.
* Where TLS is configured, nothing is said to a server that offers none: nats-py would log in
  unencrypted, and somebody in between could read the password.

* An answer to a flush that was given up ends nothing; nats-py's reading ended with it, and the
  connection was deaf while it looked well.
* Headers that are none are left out, as nats-py does where it notices; some end its reading.
* To the server a subject is any bytes between two spaces. nats-py's reading ended with one that is
  not UTF-8, and one with a vertical tab was read as two: what stood behind it named another
  subscription.

Shown with real servers in tests/bus/test_login.py, tests/stack/test_jobs.py and
tests/stack/test_strange_subjects.py.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from nats.aio.client import Client
from nats.aio.client import Srv as Server
from nats.aio.transport import Transport
from nats.errors import Error as NatsError
from nats.protocol import parser

from gateway.nats_login import Login

log = logging.getLogger(__name__)

_CONNECT = b"CONNECT "
_DENIAL = re.compile(
    r'permissions violation for (publish|subscription) to "([^"]*)"', re.IGNORECASE
)
_REFUSAL = re.compile(r"authorization|authentication", re.IGNORECASE)

_PLAIN = re.compile(rb"[!-~]*")
_ARGUMENTS = rb"[ \t]+([^ \t\r\n]+)[ \t]+(\d+)[ \t]+(([^ \t\r\n]+)[ \t]+)?"
parser.MSG_RE = re.compile(rb"\AMSG" + _ARGUMENTS + rb"(\d+)\r\n")
parser.HMSG_RE = re.compile(rb"\AHMSG" + _ARGUMENTS + rb"(\d+)[ \t]+(\d+)\r\n")


CLOSED_WITHIN_S = 1.0
FLUSHED_WITHIN_S = 10


async def _wait_closed(transport: Transport) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSED_WITHIN_S):
            await type(transport).wait_closed(transport)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Denial:
    """A right that the server says this user does not have.

    Attributes:
        subject: As nats-py gives it, in lower case.
    """

    what: Literal["publish", "subscription"]
    subject: str


def denial_in(exc: Exception) -> Denial | None:
    """Read which right is missing; None when the error is of another kind."""
    match = _DENIAL.search(str(exc))
    if match is None:
        return None
    what: Literal["publish", "subscription"] = (
        "publish" if match[1].lower() == "publish" else "subscription"
    )
    return Denial(what, match[2].lower())


def is_refusal(exc: Exception) -> bool:
    """Tell whether the server has refused the login, or has ended its validity."""
    return isinstance(exc, NatsError) and _REFUSAL.search(str(exc)) is not None


class Connection(Client):
    """A connection to NATS that outlives its secrets.

    Args:
        login: Who we are; None leaves that to the options of `connect`.
    """

    def __init__(self, login: Login | None = None) -> None:
        super().__init__()
        self._login = login

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """Return the certificates as their files are now."""
        ours = self._login.tls() if self._login is not None else None
        return ours or super().ssl_context

    async def _connect_to_server(self, s: Server) -> None:
        """Connect, on a transport that can be left again.

        nats-py leaves a refused one open, and waits for ever for one whose certificate is wrong.
        """
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call] # of nats-py
        await super()._connect_to_server(s)
        transport = self._transport
        assert transport is not None
        transport.wait_closed = partial(_wait_closed, transport)  # type: ignore[method-assign]

    def _connect_command(self) -> bytes:
        """Add who we are to what nats-py says of itself at the beginning of a connection."""
        if self._login is None:
            return super()._connect_command()
        if self._login.wants_tls and not self._server_info.get("tls_required"):
            raise NatsError("nats: TLS is configured, and the server offers none: not logged in")
        try:
            ours = self._login.fields(self._server_info.get("nonce"))
        except ValueError as exc:
            raise NatsError(f"nats: the login cannot be read: {exc}") from exc
        said = json.loads(super()._connect_command().removeprefix(_CONNECT))
        return _CONNECT + json.dumps(said | ours).encode() + b"\r\n"

    async def close(self) -> None:
        """Disconnect; nats-py trips over a connection that was never begun."""
        if self._flush_queue is None:
            return
        try:
            await super().close()
        finally:  # also if whoever closes has no more time
            if self._transport is not None:
                self._transport.close()  # type: ignore[no-untyped-call] # of nats-py

    def give_up(self) -> None:
        """End each request that waits with a `TimeoutError`: after `close` no answer comes."""
        for answer in self._resp_map.copy().values():
            if not answer.done():
                answer.set_exception(TimeoutError())
                answer.exception()  # seen: nobody waits for one that could not be sent

    async def flush(self, timeout: int = FLUSHED_WITHIN_S) -> None:  # noqa: ASYNC109 - as there
        """Return when the server has taken in all that was sent, subscriptions, too.

        nats-py's question would overtake what still waits for the flusher's turn of the loop.
        """
        await asyncio.sleep(0)
        await super().flush(timeout)

    async def _process_pong(self) -> None:
        """Take an answer in, also one that nobody waits for any more."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _process_err(self, err_msg: str) -> None:
        """Connect again after whatever the server complains of, but a missing right."""
        complaint = NatsError(f"nats: {err_msg}")
        await self._error_cb(complaint)
        if denial_in(complaint) is None:
            await self._process_op_err(complaint)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        """Take a message in, with a subject that is text, and a reply subject that is plain."""
        reply = reply if _PLAIN.fullmatch(reply) else b"not-plain"
        await super()._process_msg(sid, _as_text(subject), reply, data, headers)

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        """Read a message's headers."""
        try:
            return await super()._process_headers(headers)
        except (IndexError, ValueError) as exc:
            log.warning("headers_malformed bytes=%d cause=%r", len(headers), exc)
            return None


def _as_text(subject: bytes) -> bytes:
    r"""Write what cannot be printed as `\xff`: a log shows it, and it is nobody's name.

    A byte that is no UTF-8 would end the reading; ESC would give orders to a screen.
    """
    if _PLAIN.fullmatch(subject):
        return subject
    text = subject.decode("utf-8", "backslashreplace")
    written = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(written).encode()
