"""The terminal's ledger: what is known about every command, in one append-only file.

Source: docs/protocol.md "The ledger".
"""

import json
import os
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum, auto
from pathlib import Path
from typing import BinaryIO

from gateway.sim.file_lock import FileLock
from gateway.sim.wire import Body

VERSION = 1
_CRC_DIGITS = 8


class EntryKind(StrEnum):
    """Name what a ledger line can say about a command."""

    STARTED = auto()
    DONE = auto()
    REJECTED = auto()
    NOT_NOW = auto()
    DOUBT = auto()
    SEALED = auto()


@dataclass(frozen=True, slots=True)
class Entry:
    """Hold the last line about one command; `reply` is without the bridge's keys."""

    kind: EntryKind
    id: str
    attempt: int
    digest: str
    action: str = ""
    token: str = ""
    reply: Body | None = None


class LedgerWriteError(Exception):
    """Say that a line could not be made durable: nothing may be started on its strength."""


class Ledger:
    """Remember commands across restarts; one per account and server, opened exclusively.

    Attributes:
        uid: Names this ledger; another file has another name.
        epoch: The right to act that was issued last, 0 before the first.
        journal: The highest sequence of a gateway's journal that it was told.
        safe_mode: Why the ledger cannot be trusted, None while it can.
    """

    def __init__(
        self,
        path: Path,
        *,
        login: int,
        server: str,
        created_s: int,
        capacity: int = 1_000_000,
        new_uid: Callable[[], str] = lambda: uuid.uuid4().hex,
        sync: bool = False,
    ) -> None:
        """Open the file, or make it.

        Args:
            path: The ledger; `<path>.lock` beside it is held while it is open.
            login: The account.
            server: The account's server.
            created_s: UTC seconds for a new ledger's first line.
            capacity: How many commands it may know; a full ledger is in safe mode.
            new_uid: Names a new ledger.
            sync: Also ask the operating system to write through to the disk. Without, a killed
                process loses nothing and a power cut may.

        Raises:
            FileLockedError: Another process has it.
        """
        self.path = path
        self.epoch = 0
        self.journal = 0
        self.uid = ""
        self.safe_mode: str | None = None
        self.entries: dict[str, Entry] = {}
        self.write_fault: Callable[[], bool] = lambda: False
        self._capacity = capacity
        self._sync = sync
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._recover(login, server)
        if self.uid:
            return
        self.uid = new_uid()
        if self.safe_mode is None:
            first: Body = {"kind": "ledger", "uid": self.uid, "created_s": created_s}
            self._append(first | {"login": login, "server": server, "version": VERSION})

    def close(self) -> None:
        """Close the file and let others open it."""
        self._file.close()
        self._lock.release()

    def learn_journal(self, sequence: int) -> None:
        """Keep how far a gateway's journal has come, if it is further than was known.

        In memory alone until the next `epoch` or `started` line.
        """
        self.journal = max(self.journal, sequence)

    def claim_epoch(self) -> int:
        """Issue the next epoch and make it durable.

        Raises:
            LedgerWriteError: It could not be stored; nobody has it.
        """
        self._append({"kind": "epoch", "epoch": self.epoch + 1, "journal": self.journal})
        self.epoch += 1
        return self.epoch

    def store(self, entry: Entry) -> None:
        """Write a line about a command and make it durable before returning.

        Raises:
            LedgerWriteError: The line did not reach the file; the ledger is in safe mode and
                knows no more than before.
        """
        line = _line_object(entry)
        if entry.kind is EntryKind.STARTED:
            line["journal"] = self.journal
        self._append(line)
        self.remember(entry)
        if len(self.entries) >= self._capacity:
            self.safe_mode = f"full: {len(self.entries)} commands"

    def remember(self, entry: Entry) -> None:
        """Keep an entry in memory alone, until the terminal stops.

        For the result of a trade that has run: it is the truth even if the file has failed.
        """
        # Only a `started` line names token and action; looking again for a doubtful order needs
        # them.
        known = self.entries.get(entry.id)
        if known is not None and not entry.token:
            entry = replace(entry, token=known.token, action=known.action)
        self.entries[entry.id] = entry

    def _append(self, line: Body) -> None:
        if self._file.closed or self.write_fault():
            self._fail("write fault")
        try:
            encoded = encode_line(line)
            if self._file.write(encoded) < len(encoded):
                self._fail("short write")
            if self._sync:
                os.fsync(self._file.fileno())
        except OSError as error:
            self._fail(str(error))

    def _fail(self, why: str) -> None:
        self.safe_mode = f"cannot be written: {why}"
        self.write_fault = lambda: True
        raise LedgerWriteError(why)

    def _recover(self, login: int, server: str) -> None:
        content = self.path.read_bytes()
        for start, line, is_last in _lines(content):
            decoded = decode_line(line)
            if decoded is not None:
                self._apply_or_distrust(decoded, login, server)
            elif is_last:
                # Cut it off: the next line must not be glued to it, and once lines follow it
                # a bad line would mean safe mode.
                self._file.truncate(start)
            else:
                self.safe_mode = f"damaged at byte {start}"
        if content and not self.uid and _holds_a_whole_line(content):
            self.safe_mode = self.safe_mode or "first line is missing"

    def _apply_or_distrust(self, line: Body, login: int, server: str) -> None:
        try:
            self._apply(line, login, server)
        except (KeyError, ValueError) as error:
            self.safe_mode = f"line of another version: {error}"

    def _apply(self, line: Body, login: int, server: str) -> None:
        self.learn_journal(int(str(line.get("journal", 0))))  # lines of old programs have none
        match line.get("kind"):
            case "ledger":
                self.uid = str(line["uid"])
                owner = (line.get("login"), line.get("server"), line.get("version"))
                if owner != (login, server, VERSION):
                    self.safe_mode = f"belongs to {owner}"
            case "epoch":
                self.epoch = max(self.epoch, int(str(line["epoch"])))
            case _:
                self.remember(_entry(line))


def encode_line(line: Body) -> bytes:
    """Return one ledger line: CRC-32 of the object in hex, a space, the object, a newline."""
    text = json.dumps(line, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode_line(line: bytes) -> Body | None:
    """Return the object of one line, or None if it is torn or fails its CRC."""
    if not line.endswith(b"\n") or line[_CRC_DIGITS : _CRC_DIGITS + 1] != b" ":
        return None
    text = line[_CRC_DIGITS + 1 : -1]
    if line[:_CRC_DIGITS] != b"%08x" % zlib.crc32(text):
        return None
    decoded: Body = json.loads(text)
    return decoded


def _lines(content: bytes) -> Iterator[tuple[int, bytes, bool]]:
    start = 0
    while start < len(content):
        newline = content.find(b"\n", start)
        end = len(content) if newline < 0 else newline + 1
        yield start, content[start:end], end == len(content)
        start = end


def _holds_a_whole_line(content: bytes) -> bool:
    return any(decode_line(line) is not None for _, line, _ in _lines(content))


def _line_object(entry: Entry) -> Body:
    line: Body = {
        "kind": entry.kind.value,
        "id": entry.id,
        "attempt": entry.attempt,
        "digest": entry.digest,
    }
    if entry.kind is EntryKind.STARTED:
        return line | {"token": entry.token, "action": entry.action}
    return line if entry.reply is None else line | {"reply": entry.reply}


def _entry(line: Body) -> Entry:
    reply = line.get("reply")
    return Entry(
        kind=EntryKind(str(line["kind"])),
        id=str(line["id"]),
        attempt=int(str(line["attempt"])),
        digest=str(line["digest"]),
        action=str(line.get("action", "")),
        token=str(line.get("token", "")),
        reply=dict(reply) if isinstance(reply, dict) else None,
    )
