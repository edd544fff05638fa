"""The doctor names what is wrong and what to do."""

from pathlib import Path

import pytest

from gateway.config import Config
from gateway.doctor import Finding, examine
from tests.support.nats_server import NatsServer
from tests.support.net import free_port
from tests.support.stack import EXISTING_SERVER, Stack, eventually


async def findings(config: Config) -> list[Finding]:
    """Collect everything that the doctor says."""
    return [finding async for finding in examine(config, patience_s=1.0)]


async def test_healthy_stack_has_no_failure(nats_server: NatsServer) -> None:
    """Beside a running gateway, which goes on."""
    async with Stack(nats_server.url) as stack:
        found = await findings(stack.app.config)
        order = await stack.buy()

        assert {"ok"} == {finding.level for finding in found}
        assert any("a gateway runs: active" in finding.what for finding in found)
        assert order.succeeded


@pytest.mark.parametrize("dialect", ["auto", "metatrader4-server"])
async def test_account_is_known_of_a_server_that_is_never_idle(
    nats_server: NatsServer, dialect: str
) -> None:
    """Whoever asks for it: the status says it, though no idle terminal was ever probed."""
    terminal = {"dialect": dialect, "probe_interval_s": 60.0, "event_interval_s": 0.05}
    async with Stack(nats_server.url, EXISTING_SERVER, terminal=terminal) as stack:
        await eventually(lambda: stack.app.describe()["terminal"]["account"])
        account = stack.app.describe()["terminal"]["account"]

        assert stack.terminal.broker.terms.login == account["login"]
        assert account["server"]


async def test_existing_server_is_named_with_its_limits(nats_server: NatsServer) -> None:
    """The weaker promises are said before money is at stake."""
    async with Stack(nats_server.url, EXISTING_SERVER) as stack:
        found = await findings(stack.app.config)

        assert any("weaker promises" in f.what and f.level == "warning" for f in found)


async def test_refused_login_is_named_with_a_cure(tmp_path: Path) -> None:
    """It is told from a server that is not there, and the secret is not shown."""
    file = tmp_path / "nats.conf"
    file.write_text("authorization { user: gateway, password: right }", encoding="utf-8")
    server = NatsServer(tmp_path, "-c", str(file), jetstream=False)
    server.start()
    try:
        nats = {"servers": (server.url,), "user": "gateway", "password": "mistyped"}
        terminal = {"request_endpoint": f"tcp://127.0.0.1:{free_port()}"}
        config = Config.model_validate({"nats": nats, "terminal": terminal})
        refused, *_ = [one for one in await findings(config) if one.level == "failed"]
    finally:
        server.stop()

    assert "refuses the login as user 'gateway'" in refused.what
    assert "nats" in refused.cure
    assert "mistyped" not in refused.what


async def test_missing_links_are_named_with_a_cure() -> None:
    """Neither NATS nor a terminal: both are told, each with what to do."""
    nowhere = f"127.0.0.1:{free_port()}"
    config = Config.model_validate(
        {
            "nats": {"servers": (f"nats://{nowhere}",)},
            "terminal": {"request_endpoint": f"tcp://{nowhere}"},
        }
    )
    failed = [finding for finding in await findings(config) if finding.level == "failed"]

    assert 2 == len(failed)
    assert all(finding.cure for finding in failed)
