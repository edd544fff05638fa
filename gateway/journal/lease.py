"""Who is active: the gateway that holds the lease. Others stand by and try to get it.

The lease is a record that vanishes unless it is renewed; where the server forgets to let it
vanish, as one did that was killed, a standby goes by its own clock. It keeps two gateways from
getting in each other's way; it protects no trade (a gateway may be paused right after it looked):
that is what the journal's fence and the terminal's epoch do. So a holder stops acting by its own
clock, a little before the server lets the lease go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from gateway import cancellation
from gateway.errors import JournalAway, StartOver
from gateway.journal.records import TTL, Records, Superseded, only_if
from gateway.journal.trades import Fenced
from gateway.metrics import Metrics
from gateway.subjects import Subjects

log = logging.getLogger(__name__)

TRY_S = 0.2
"""How often a standby tries; also how late it may notice that the lease was given up."""

RENEWALS = 3
"""How many renewals fit into a lease: so many but one may fail."""

MARGIN = 0.1
"""The part of the lease that is left for clocks that run at different speeds."""


class Lease:
    """The lease on one terminal.

    Args:
        holder: Names this gateway to people.
        ttl_s: Whole seconds: the server knows no others.
    """

    def __init__(
        self,
        records: Records,
        subjects: Subjects,
        metrics: Metrics,
        *,
        holder: str,
        ttl_s: int,
    ) -> None:
        self._records = records
        self._subject = f"{subjects.journal_base}.lease"
        self._metrics = metrics
        self._holder = holder
        self._ttl_s = ttl_s
        self._sequence = 0
        self._good_until_s = float("-inf")
        self._seen = -1
        self._seen_at_s = 0.0

    def is_held(self) -> bool:
        """Tell whether it certainly has not run out."""
        return time.monotonic() < self._good_until_s

    async def acquire(self) -> None:
        """Wait until nobody else holds it, and take it."""
        while not await self._try():
            cancellation.heed()
            await asyncio.sleep(TRY_S)
        log.info("lease_taken holder=%s", self._holder)

    async def _try(self) -> bool:
        try:
            sequence = await self._free()
            if sequence is not None:
                await self._put(sequence)
        except Superseded:
            return False
        except JournalAway as exc:
            log.warning("lease_not_asked cause=%s", exc)
            return False
        return sequence is not None

    async def _free(self) -> int | None:
        """Return the record that a free lease follows on; None while it is held.

        One that nobody has renewed for its whole life, by our own clock, is free as well: a
        server that was killed may keep it for ever.
        """
        record = await self._records.read(self._subject)
        if record is None:
            return 0
        sequence, now_s = record.seq or 0, time.monotonic()
        if sequence != self._seen:
            self._seen, self._seen_at_s = sequence, now_s
        ttl_s = float((record.headers or {}).get(TTL, "0s").removesuffix("s"))
        return sequence if now_s > self._seen_at_s + max(ttl_s, self._ttl_s) else None

    async def keep(self) -> None:
        """Renew it until cancelled.

        Raises:
            Fenced: Another gateway has it.
            StartOver: The journal is gone; the next turn finds out what that means.
        """
        is_failing = False
        while True:
            cancellation.heed()
            await asyncio.sleep(self._ttl_s / RENEWALS if self.is_held() else TRY_S)
            try:
                await self._renew()
            except JournalAway as exc:
                self._metrics.lease_not_renewed()
                if not is_failing:
                    log.warning("lease_not_renewed cause=%s", exc)
                is_failing = True
                if await self._records.is_gone():
                    raise StartOver("the journal's stream has been deleted") from exc
            else:
                if is_failing:
                    log.info("lease_renewed holder=%s", self._holder)
                is_failing = False

    async def _renew(self) -> None:
        """Renew it; after it ran out, as in an outage of NATS, take it unless another did."""
        try:
            await self._put(self._sequence)
        except Superseded:
            record = await self._records.read(self._subject)
            if record is not None and (holder := (record.data or b"").decode()) != self._holder:
                raise Fenced(f"the lease is held by {holder}") from None
            self._sequence = record.seq or 0 if record is not None else 0
            with suppress(Superseded):  # somebody was faster: the next look tells
                await self._put(self._sequence)

    async def release(self) -> None:
        """Give it up, so that a standby takes over at once."""
        if not self.is_held():
            return
        self._good_until_s = float("-inf")
        try:
            await self._records.delete(self._sequence)
        except JournalAway as exc:
            log.warning("lease_not_released cause=%s", exc)
        else:
            log.info("lease_released holder=%s", self._holder)

    async def _put(self, sequence: int) -> None:
        """Write the lease if its last record is still this one (0 for none).

        Raises:
            Superseded: It is not.
            JournalAway: It may have been written, or not.
        """
        asked_at_s = time.monotonic()
        headers = only_if(sequence) | {TTL: f"{self._ttl_s}s"}
        self._sequence = await self._records.write(self._subject, self._holder.encode(), headers)
        self._good_until_s = asked_at_s + self._ttl_s * (1 - MARGIN)
