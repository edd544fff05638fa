"""Fixtures: programs built for Windows, and a Windows Python, under Wine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mql4host.build import EXPERTS_FOLDER, PROGRAMS_FOLDER, build_for_windows
from tests.windows.remote import Relay
from tests.windows.wine import wine_session


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Need for everything in this folder what `.ci/windows-tools` brings."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.system("x86_64-w64-mingw32-g++", "windows-python"))


@pytest.fixture(scope="session")
def wine() -> Iterator[None]:
    """Keep Wine up."""
    with wine_session():
        yield


@pytest.fixture(scope="session")
def windows_programs(wine: None) -> dict[str, Path]:
    """Build for Windows."""
    sources = (EXPERTS_FOLDER / "GatewayPipe.mq4", PROGRAMS_FOLDER / "PlainTicker.mq4")
    return {source.stem: build_for_windows(source) for source in sources}


@pytest.fixture(scope="session")
def relay(wine: None) -> Iterator[Relay]:
    """Run the gateway's end of pipes in a Windows Python."""
    relay = Relay()
    yield relay
    relay.close()
