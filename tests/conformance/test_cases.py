"""Every transcript of `cases/` at every terminal it is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.sim.bridge import PlainClients
from tests.conformance.peers import Peer, PeerName
from tests.conformance.transcripts import Case, play, read_cases

CASES = [
    pytest.param(peer, case, id=f"{peer}-{case.file}-{case.name}")
    for file in sorted((Path(__file__).parent / "cases").glob("*.txt"))
    for case in read_cases(file)
    for peer in case.peers
]
CASES += [
    pytest.param(PeerName.PIPE, case, id=f"{PeerName.PIPE}-{case.file}-{case.name}")
    for file in sorted((Path(__file__).parent / "cases").glob("*.txt"))
    for case in read_cases(file)
    if PeerName.MQL4 in case.peers and case.fits_lines
]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_case(
    name: PeerName, case: Case, make_peer: Callable[[PeerName, PlainClients], Peer]
) -> None:
    """The terminal answers line by line as written down."""
    play(case, make_peer(name, case.plain_clients))
