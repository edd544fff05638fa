"""The log is one line per record, whatever terminals, brokers and clients have written."""

import json
import logging
from collections.abc import Iterator

import pytest

from gateway.config import Log
from gateway.logs import configure

HOSTILE = "a\n2026-01-01T00:00:00Z INFO lease_taken\r\x1b[31m\x85\u2028b"

log = logging.getLogger("tests.logs")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the root logger as it was."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def test_text_cannot_be_forged(capsys: pytest.CaptureFixture[str]) -> None:
    """Line ends and colours in a value are written out; there is one line, and it is ours."""
    configure(Log(format="text"))
    log.info("finished id=%s", HOSTILE)
    (line,) = capsys.readouterr().err.splitlines()

    assert line.endswith(
        r"INFO    finished id=a\n2026-01-01T00:00:00Z INFO lease_taken\r\x1b[31m\x85\u2028b"
    )


def test_traceback_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """What is for a developer stays readable."""
    configure(Log(format="text"))
    try:
        raise ValueError("first")
    except ValueError:
        log.exception("failed")

    assert capsys.readouterr().err.endswith("\nValueError: first\n")


def test_json_is_json_and_keeps_its_own_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """A pair called `time` or `level` takes no one's place, and NaN is no number of JSON."""
    configure(Log(format="json"))
    log.info("heard id=%s level=%s time=%s took_s=%f", HOSTILE, "debug", "never", float("nan"))

    def refuse(name: str) -> None:
        raise AssertionError(name)

    entry = json.loads(capsys.readouterr().err, parse_constant=refuse)

    assert (HOSTILE, "info", "nan") == (entry["id"], entry["level"], entry["took_s"])
    assert "never" != entry["time"]
    assert "heard" == entry["event"]
