"""The ledger: what survives a crash, and when it is no longer trusted."""

from pathlib import Path

import pytest

from gateway.sim.file_lock import FileLockedError
from gateway.sim.ledger import Entry, EntryKind, Ledger, LedgerWriteError, decode_line, encode_line

DIGEST = "d"
TOKEN = "~ABCDEFGHIJKLM"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the ledger is."""
    return tmp_path / "ledger.txt"


@pytest.fixture
def filled(path: Path) -> Path:
    """Write a ledger with an epoch and three commands in three states."""
    ledger = open_ledger(path)
    ledger.claim_epoch()
    ledger.store(entry(EntryKind.STARTED, "a/1", token=TOKEN, action="DO_ORDER_SEND"))
    ledger.store(entry(EntryKind.DONE, "a/1", reply={"response": {"ticket": 7, "lots": 0.1}}))
    ledger.store(entry(EntryKind.STARTED, "a/2", token=TOKEN, action="DO_ORDER_SEND"))
    ledger.store(entry(EntryKind.SEALED, "a/3"))
    ledger.close()
    return path


def open_ledger(path: Path, capacity: int = 1_000) -> Ledger:
    """Open the ledger of one account."""
    return Ledger(path, login=1, server="S", created_s=5, capacity=capacity)


def entry(kind: EntryKind, command_id: str, **more: object) -> Entry:
    """Return an entry of the first attempt."""
    return Entry(kind, command_id, 1, DIGEST, **more)  # type: ignore[arg-type]  # test data


def test_entries_and_epoch_survive_a_restart(filled: Path) -> None:
    """The same name, the same epoch, each command in its last state."""
    ledger = open_ledger(filled)
    kinds = {command_id: known.kind for command_id, known in ledger.entries.items()}
    ledger.close()

    assert ledger.epoch == 1
    assert ledger.safe_mode is None
    expected = {"a/1": EntryKind.DONE, "a/2": EntryKind.STARTED, "a/3": EntryKind.SEALED}
    assert expected == kinds


def test_highest_journal_survives_a_restart(path: Path) -> None:
    """A `started` line tells it as an `epoch` line does; a lower number takes nothing back."""
    ledger = open_ledger(path)
    ledger.learn_journal(7)
    ledger.claim_epoch()
    ledger.learn_journal(9)
    ledger.learn_journal(8)
    ledger.store(entry(EntryKind.STARTED, "a/1", token=TOKEN, action="DO_ORDER_SEND"))
    ledger.close()
    told = [decode_line(line) or {} for line in path.read_bytes().splitlines(keepends=True)]
    reopened = open_ledger(path)
    reopened.close()

    assert [7, 9] == [line["journal"] for line in told if "journal" in line]
    assert reopened.journal == 9


def test_ledger_of_an_old_program_was_told_no_journal(path: Path) -> None:
    """Its lines lack the number, and are whole all the same."""
    open_ledger(path).close()
    with path.open("ab") as file:
        file.write(encode_line({"kind": "epoch", "epoch": 3}))
    ledger = open_ledger(path)
    ledger.close()

    assert (3, 0, None) == (ledger.epoch, ledger.journal, ledger.safe_mode)


def test_stored_reply_comes_back_unchanged(filled: Path) -> None:
    """A replay answers exactly what was answered first."""
    ledger = open_ledger(filled)
    ledger.close()

    assert ledger.entries["a/1"].reply == {"response": {"ticket": 7, "lots": 0.1}}


def test_token_outlives_the_started_line(path: Path) -> None:
    """Doubt needs the token to look again, and only the first line names it."""
    ledger = open_ledger(path)
    ledger.store(entry(EntryKind.STARTED, "a/1", token=TOKEN, action="DO_ORDER_SEND"))
    ledger.store(entry(EntryKind.DOUBT, "a/1", reply={}))
    ledger.close()
    reopened = open_ledger(path)
    reopened.close()

    assert reopened.entries["a/1"].token == TOKEN


def test_cut_at_any_byte_loses_only_the_torn_line(filled: Path) -> None:
    """Whole lines are kept, a part of a line is never believed."""
    content = filled.read_bytes()
    lines = content.splitlines(keepends=True)
    ends = [sum(len(line) for line in lines[:count]) for count in range(len(lines) + 1)]
    for cut in range(len(content) + 1):
        filled.write_bytes(content[:cut])
        ledger = open_ledger(filled)
        whole = max(end for end in ends if end <= cut)
        kept = [decode_line(line) for line in content[:whole].splitlines(keepends=True)]
        expected = {str(line["id"]) for line in kept if line is not None and "id" in line}

        assert ledger.safe_mode is None, cut
        assert expected == set(ledger.entries), cut
        ledger.close()


def test_writing_goes_on_after_a_torn_line(filled: Path) -> None:
    """The torn part is cut off, or the next line would be glued to it."""
    content = filled.read_bytes()
    for torn in range(1, 60, 7):
        filled.write_bytes(content[:-torn])
        ledger = open_ledger(filled)
        ledger.store(entry(EntryKind.SEALED, "b/9"))
        ledger.close()
        again = open_ledger(filled)
        again.close()

        assert again.safe_mode is None
        assert again.entries.keys() == {"a/1", "a/2", "b/9"}


def test_flipped_bit_in_the_middle_means_safe_mode(filled: Path) -> None:
    """Damage before the last line is no crash, so nothing of the file is a promise."""
    content = bytearray(filled.read_bytes())
    content[content.index(b"started")] ^= 1
    filled.write_bytes(content)
    ledger = open_ledger(filled)
    ledger.close()

    assert ledger.safe_mode is not None
    assert ledger.safe_mode.startswith("damaged at byte")


def test_any_flipped_byte_before_the_last_line_is_noticed(filled: Path) -> None:
    """The CRC covers the whole object, and the CRC itself is checked."""
    content = filled.read_bytes()
    end = len(content.rstrip(b"\n").rpartition(b"\n")[0])
    for at in range(0, end, 7):
        if content[at : at + 1] == b"\n":
            continue
        filled.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        ledger = open_ledger(filled)
        ledger.close()

        assert ledger.safe_mode is not None, at


def test_ledger_of_another_account_is_not_trusted(filled: Path) -> None:
    """A copied file may not vouch for orders of another account."""
    ledger = Ledger(filled, login=2, server="S", created_s=5)
    ledger.close()

    assert ledger.safe_mode is not None


def test_missing_first_line_is_not_trusted(filled: Path) -> None:
    """Without its name the file could be any ledger."""
    filled.write_bytes(filled.read_bytes().split(b"\n", 1)[1])
    ledger = open_ledger(filled)
    ledger.close()

    assert ledger.safe_mode == "first line is missing"


def test_new_file_has_a_new_name(tmp_path: Path) -> None:
    """A lost ledger is noticed by its successor's name."""
    first, second = open_ledger(tmp_path / "a"), open_ledger(tmp_path / "b")
    first.close()
    second.close()

    assert first.uid != second.uid


def test_ledger_is_opened_exclusively(path: Path) -> None:
    """Two terminals on one ledger would each run the same command."""
    ledger = open_ledger(path)
    with pytest.raises(FileLockedError):
        open_ledger(path)
    ledger.close()
    open_ledger(path).close()


def test_full_ledger_is_in_safe_mode(path: Path) -> None:
    """Forgetting an id could run it twice, so a full ledger takes no more."""
    ledger = open_ledger(path, capacity=2)
    ledger.store(entry(EntryKind.SEALED, "a/1"))
    assert ledger.safe_mode is None
    ledger.store(entry(EntryKind.SEALED, "a/2"))
    ledger.close()

    assert ledger.safe_mode == "full: 2 commands"


def test_failed_write_is_reported_and_remembered(path: Path) -> None:
    """A line that is not in the file must not be built upon, now or later."""
    ledger = open_ledger(path)
    ledger.write_fault = lambda: True
    with pytest.raises(LedgerWriteError):
        ledger.claim_epoch()
    ledger.close()

    assert ledger.epoch == 0
    assert ledger.safe_mode == "cannot be written: write fault"


def test_line_has_the_documented_form() -> None:
    """CRC-32 in eight hex digits, a space, the object, a newline."""
    assert encode_line({"kind": "epoch", "epoch": 1}) == b'cd1e3627 {"kind":"epoch","epoch":1}\n'
