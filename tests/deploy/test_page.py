"""The status page in a real browser: what a person sees is what `/status` says."""

import asyncio
import re

import pytest

from tests.deploy.browser import open_page
from tests.support.nats_server import NatsServer
from tests.support.stack import Stack

pytestmark = pytest.mark.system("chromium")


def shown(page: str, place: str, end: str) -> str:
    """Return the words in one place of the page."""
    found = re.search(rf'id="{place}"[^>]*>(.*?)</{end}>', page, re.DOTALL)
    assert found, page
    return " ".join(re.sub(r"<[^>]*>", " ", found[1]).split())


async def test_page_shows_the_gateway_at_work(nats_server: NatsServer) -> None:
    """Links, account, queues, the last command with its result, the last tick."""
    async with Stack(nats_server.url, ticks={"symbols": ["EURUSD"]}) as stack:
        assert (await stack.buy(id_="from-a-test")).outcome == "succeeded"
        await stack.quote("EURUSD", 1.23456, 1.23478)
        page = await asyncio.to_thread(
            open_page, f"http://{stack.app.status.address}/", "--dump-dom"
        )
        terms = stack.terminal.broker.terms

    terminal = shown(page, "terminal", "dl")
    assert "demo" == shown(page, "name", "h1")
    assert "active trading" == shown(page, "pills", "header")
    assert terminal.startswith("Connected yes Link up May trade yes")
    assert f"Account {terms.login} at {terms.server} Protocol bridge" in terminal
    assert "trade 0 of 256" in shown(page, "queues", "dl")
    assert re.search(
        r"Connected yes Server .* Round trip .* Journal ok$", shown(page, "nats", "dl")
    )
    command = r"DO_ORDER_SEND succeeded [\d.]+ m?s tester from-a-test"
    assert re.search(command, shown(page, "commands", "table"))
    assert "EURUSD 1.23456 1.23478" in shown(page, "ticks", "table")
    assert shown(page, "footer", "footer").startswith("Version ")
