"""The host itself: what stops a program in MetaTrader stops it here, and nothing slips through."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.mql4host.broker_server import BrokerServer
from tests.mql4host.build import (
    EXPERTS_FOLDER,
    HOST_FOLDER,
    INCLUDE_FOLDER,
    MQL4_FOLDER,
    PROGRAMS_FOLDER,
)
from tests.mql4host.hosted import HostedExpert
from tests.mql4host.translate import translate

KEYWORDS = {
    *("if", "for", "while", "switch", "return", "sizeof", "int", "uint", "long", "ulong"),
    *("double", "datetime", "bool", "uchar", "ushort"),
}
_CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
_COMMENT = re.compile(r"//[^\n]*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")


def sources() -> list[Path]:
    """Return every MQL4 source, of the product and of the tests."""
    return sorted([*MQL4_FOLDER.rglob("*.mq?"), *PROGRAMS_FOLDER.glob("*.mq?")])


def identifier(path: Path) -> str:
    """Name a test after its file."""
    return path.name


@pytest.mark.parametrize("path", sources(), ids=identifier)
def test_sources_are_ascii(path: Path) -> None:
    """MetaEditor guesses the encoding of anything else."""
    odd = [byte for byte in path.read_bytes() if byte >= 0x80 or byte == 0x09]

    assert [] == odd


@pytest.mark.parametrize("path", sources(), ids=identifier)
def test_sources_call_only_what_the_host_knows(path: Path) -> None:
    """A call that the host does not have is one that no test has seen."""
    ours = "".join(code(source) for source in sources())
    host = code(HOST_FOLDER / "mql4.h")
    known = set(_CALL.findall(host)) | KEYWORDS
    known |= set(re.findall(r"HOST_INDICATOR\((\w+)\)", host))
    known |= set(re.findall(r"[\w&]\s+(?:\w+::)?(\w+)\([^;]*?\)(?:\s*const)?\s*\{", ours))
    known |= set(re.findall(r"(?:class|struct)\s+(\w+)", ours))

    unknown = sorted({name for name in _CALL.findall(code(path)) if name not in known})

    assert [] == unknown


def code(path: Path) -> str:
    """Return a source without comments and texts."""
    return _COMMENT.sub(" ", path.read_text("ascii"))


@pytest.mark.parametrize("path", sorted(EXPERTS_FOLDER.glob("*.mq4")), ids=identifier)
def test_programs_are_strict(path: Path) -> None:
    """Without #property strict, an array out of range is not even noticed."""
    assert "#property strict" in path.read_text().splitlines()


def test_includes_have_no_globals() -> None:
    """State lives in the programs and in objects; an include has constants and functions.

    All but the one for programs of others, whose calls are to be as short as they can be.
    """
    pattern = re.compile(r"^(?:static\s+)?\w+\s+\w+(?:\[\])?\s*(?:=.*)?;", re.MULTILINE)

    found = {path.name: pattern.findall(code(path)) for path in INCLUDE_FOLDER.rglob("*.mqh")}

    calls = {"Calls.mqh": ["GatewayCaller gateway_caller;"]}
    assert calls == {name: lines for name, lines in found.items() if lines}


def test_the_ticks_program_cannot_trade() -> None:
    """The data side has no way to the trade calls."""
    text = translate(EXPERTS_FOLDER / "GatewayTicks.mq4", INCLUDE_FOLDER).text
    program = (EXPERTS_FOLDER / "GatewayTicks.mq4").read_text()

    assert "TradeCall" not in program
    assert "Ledger.mqh" not in text


def test_non_ascii_is_refused_by_the_translator(tmp_path: Path) -> None:
    """Even a comment."""
    program = tmp_path / "Bad.mq4"
    program.write_text("#property strict\n// caf\u00e9\nint OnInit() { return(0); }\n")

    with pytest.raises(UnicodeDecodeError):
        translate(program, INCLUDE_FOLDER)


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        ("range", "array out of range"),
        ("element", "use of an uninitialised element"),
        ("member", "use of an uninitialised member"),
        ("divide", "division by zero"),
        ("divide_real", "division by zero"),
    ],
)
def test_mistakes_stop_the_program(
    programs: dict[str, Path], tmp_path: Path, mistake: str, told: str
) -> None:
    """As in MetaTrader, at the line, and the line is told."""
    expert = HostedExpert(programs["Faults"], BrokerServer(), tmp_path, {"Mistake": mistake})

    with pytest.raises(RuntimeError, match=told) as stopped:
        expert.start()

    assert 0 != expert.join()
    assert "Faults.mq4:" in str(stopped.value)


def test_no_mistake_no_stop(programs: dict[str, Path], tmp_path: Path) -> None:
    """The program of the mistakes runs when it makes none."""
    expert = HostedExpert(programs["Faults"], BrokerServer(), tmp_path, {"Mistake": "none"})

    with expert:
        assert 0 == expert.stop()
    assert "passed 2" in expert.log
