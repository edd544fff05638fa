"""The conformance transcripts over a named pipe, both ends of it Windows programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import test_cases
from tests.conformance.peers import PeerName
from tests.conformance.transcripts import Case, play, read_cases
from tests.windows.remote import Relay, WindowsPeer

CASES = [
    pytest.param(case, id=f"{case.file}-{case.name}")
    for file in sorted((Path(test_cases.__file__).parent / "cases").glob("*.txt"))
    for case in read_cases(file)
    if PeerName.MQL4 in case.peers and case.fits_lines
]


@pytest.mark.parametrize("case", CASES)
def test_case(case: Case, relay: Relay, windows_programs: dict[str, Path], tmp_path: Path) -> None:
    """The program answers line by line as written down."""
    binary = windows_programs["GatewayPipe"]
    play(case, WindowsPeer(relay, binary, tmp_path, case.plain_clients))
