"""The policy is read again, from a file that changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway import policy_reload
from gateway.config import load
from gateway.policy_reload import Reload
from tests.support.stack import eventually


async def test_file_is_watched_where_there_are_no_signals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change is taken, a bad one is reported, and a file that goes away changes nothing."""
    monkeypatch.setattr(policy_reload, "LOOK_S", 0.001)
    file = tmp_path / "gateway.toml"
    file.write_text("[policy]\ntrading = true\n")
    reload = Reload(load(file, {}), lambda: load(file, {}), file)
    watching = asyncio.create_task(reload.watch())
    await asyncio.sleep(0)
    try:
        file.write_text("[policy]\ntrading = true\nmax_open_orders = 3\n")
        await eventually(lambda: reload.policy.current.max_open_orders == 3)
        file.write_text("[policy]\nmax_open_orders = 'many'\n")
        await eventually(lambda: reload.policy.problem)

        assert reload.policy.current.trading
        assert "policy.max_open_orders" in (reload.policy.problem or "")
        file.unlink()
        await eventually(lambda: "No such file" in (reload.policy.problem or ""))
        assert 3 == reload.policy.current.max_open_orders
        file.write_text(f"[policy]\nsymbols = {'[' * 5000}\n")
        await eventually(lambda: "recursion" in (reload.policy.problem or ""))
        file.write_text("[policy]\ntrading = false\n")
        await eventually(lambda: not reload.policy.current.trading)
        assert reload.policy.problem is None
    finally:
        watching.cancel()


def listing_alpha(folder: Path) -> tuple[Reload, Path]:
    """Begin with a file that lists one client."""
    file = folder / "gateway.toml"
    file.write_text("[policy]\ntrading = true\n[policy.clients.alpha]\n")
    return Reload(load(file, {}), lambda: load(file, {}), file), file


def test_last_client_is_not_taken_out_of_the_list(tmp_path: Path) -> None:
    """Whoever takes one right away must not give all to everybody."""
    reload, file = listing_alpha(tmp_path)
    file.write_text("[policy]\ntrading = true\n")
    reload.now()

    assert ["alpha"] == list(reload.policy.current.clients)
    assert "no client is left" in (reload.policy.problem or "")
    file.write_text("[policy]\ntrading = true\n[policy.clients.beta]\n")
    reload.now()

    assert ["beta"] == list(reload.policy.current.clients)
    assert reload.policy.problem is None


def test_all_may_be_stopped_with_the_list_left_out(tmp_path: Path) -> None:
    """With trading off nobody may trade, so that is taken; and to go on takes a list again."""
    reload, file = listing_alpha(tmp_path)
    file.write_text("[policy]\ntrading = false\n")
    reload.now()

    assert (False, None) == (reload.policy.current.trading, reload.policy.problem)
    file.write_text("[policy]\ntrading = true\n")
    reload.now()

    assert not reload.policy.current.trading
    assert "no client is left" in (reload.policy.problem or "")


def test_other_sections_need_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever changes them is told that they are not in force."""
    file = tmp_path / "gateway.toml"
    file.write_text("[ha]\nlease_ttl_s = 9\n")
    reload = Reload(load(None, {}), lambda: load(file, {}), file)
    reload.now()

    assert "restart_needed sections=ha" in caplog.text
