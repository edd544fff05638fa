"""The reference pages say what the code does."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import generate
from gateway.actions import ACTIONS, Action
from gateway.config import Config
from gateway.metrics import Metrics
from tests.support.syntax import parse

# The public contract: dashboards, alerts and other people's rules hold on to these names.
METRICS = {
    "build_info": ("version", "python"),
    "commands_total": ("action", "outcome"),
    "command_duration_seconds": ("action",),
    "queue_wait_seconds": ("lane",),
    "queue_depth": ("lane",),
    "queue_capacity": ("lane",),
    "round_trip_seconds": ("action",),
    "channel_busy_seconds_total": (),
    "replies_dropped_total": ("action", "reason"),
    "replies_discarded_total": ("reason",),
    "replies_late_total": (),
    "retries_total": ("action",),
    "resolves_total": ("result",),
    "duplicates_total": (),
    "terminal_up": (),
    "terminal_trade_allowed": (),
    "terminal_last_reply_timestamp_seconds": (),
    "channel_resets_total": ("reason",),
    "ticks_received_total": ("symbol",),
    "ticks_published_total": ("symbol",),
    "ticks_missed_total": ("symbol",),
    "ticks_conflated_total": ("symbol",),
    "tick_forward_seconds": (),
    "last_tick_timestamp_seconds": ("symbol",),
    "nats_up": (),
    "nats_reconnects_total": (),
    "nats_round_trip_seconds": (),
    "market_open": (),
    "journal_write_seconds": (),
    "jobs_pending": (),
    "jobs_redelivered_total": (),
    "dead_letters_total": ("reason",),
    "lease_renewal_failures_total": (),
    "active": (),
    "active_transitions_total": (),
    "epoch": (),
    "halted": (),
    "policy_reload_failed": (),
    "event_loop_lag_seconds": (),
}


def test_pages_are_current() -> None:
    """Every generated page is what its generator writes; else run `python docs/generate.py`."""
    assert [] == generate.outdated()


ROOT = Path(__file__).resolve().parents[2]


def _causes() -> Iterator[tuple[str, int | None, str]]:
    """Find every `Cause(Source.X, code, "NAME", ...)` in the code."""
    for path in (ROOT / "gateway").rglob("*.py"):
        for node in ast.walk(parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id != "Cause" or not isinstance(node.args[2], ast.Constant):
                continue
            source, code, name = node.args[0], node.args[1], node.args[2].value
            assert isinstance(source, ast.Attribute)
            number = code.value if isinstance(code, ast.Constant) else None
            yield source.attr.lower(), number if isinstance(number, int) else None, str(name)


def _headings(page: Path) -> set[str]:
    """Name a page's headings as a link does."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_links_lead_to_headings_that_are_there(page: Path) -> None:
    """Where a link names one; that its file is there is looked at with all files."""
    links = re.findall(r"\]\(([^):\s]*)#([^)\s]+)\)", page.read_text(encoding="utf-8"))

    assert [] == [
        f"{path}#{heading}"
        for path, heading in links
        if heading not in _headings(page.parent / path if path else page)
    ]


def test_every_error_code_is_on_the_page() -> None:
    """And what the page lists does exist."""
    page = (ROOT / "docs/subjects.md").read_text(encoding="utf-8").partition("### Codes")[2]
    page = page.partition("\n## ")[0]
    rows = re.findall(r"^\| (\d{3}) \| `([A-Z_]+)`(?:, `error.code` (\d{3}))? \|", page, re.M)
    told = {(int(inner or code), name) for code, name, inner in rows}
    causes = set(_causes())

    assert {(code, name) for source, code, name in causes if source == "gateway"} == told
    for source, _, name in causes:
        assert source == "gateway" or f"`{name}`" in page, name


def test_metrics_are_the_public_contract() -> None:
    """A renamed metric or label breaks dashboards that we do not know of."""
    contract = {f"mt4_gateway_{name}": labels for name, labels in METRICS.items()}

    assert contract == {one.name: one.labels for one in Metrics().catalogue}


def test_metrics_follow_the_naming_rules() -> None:
    """Counters, and only they, end in `_total`."""
    for one in Metrics().catalogue:
        assert (one.kind == "counter") == one.name.endswith("_total"), one.name


def test_example_configuration_is_the_default() -> None:
    """Whoever copies the example changes nothing."""
    page = generate.configuration()
    example = page.partition("```toml\n")[2].partition("```")[0]

    assert Config() == Config.model_validate(tomllib.loads(example))


def test_every_secret_is_marked() -> None:
    """The page says which values must never be in a repository."""
    marked = [
        line.split("`")[1]
        for line in generate.configuration().splitlines()
        if "**Secret.**" in line
    ]

    assert ["password", "token"] == marked


def test_every_key_has_a_meaning() -> None:
    """No key is left without a sentence."""
    keys = [line for line in generate.configuration().splitlines() if "`MT4GW_" in line]
    unexplained = [line for line in keys if line.endswith("|  |")]

    assert [] == unexplained


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_every_parameter_has_a_meaning(action: Action) -> None:
    """Say it in the model's field or, where many share it, in generate.MEANINGS."""
    unexplained = [
        name for name in action.parameters.model_fields if not generate.meaning(action, name)
    ]

    assert [] == unexplained


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_example_bodies_are_valid(action: Action) -> None:
    """A reader may copy what the page shows."""
    assert action.validate(action.parameters.example) is not None
