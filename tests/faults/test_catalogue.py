"""The catalogue of faults names tests that exist: docs/faults.md is written from it."""

import ast
import tomllib
from functools import cache
from typing import Any

from docs.generate import CATALOGUE, ROOT
from tests.support.syntax import parse

FAULTS: list[dict[str, Any]] = [
    fault
    for group in tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))["group"]
    for fault in group["fault"]
]
KEYS = {"number", "fault", "expected", "tests", "note"}
LEAST = 70
LEAST_WITH_TESTS = 50
"""Reasons are cheap: so many faults have more than that."""


@cache
def _tests_in(path: str) -> frozenset[str]:
    """Return the tests of a file."""
    tree = parse((ROOT / path).read_text(encoding="utf-8"), path)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, functions))


def test_every_fault_is_listed_once() -> None:
    """In order, so that one that is taken out is missed; and no key is mistyped."""
    assert list(range(1, len(FAULTS) + 1)) == [fault["number"] for fault in FAULTS]
    assert LEAST <= len(FAULTS)
    assert set() == {key for fault in FAULTS for key in fault} - KEYS


def test_every_fault_has_tests_or_a_reason() -> None:
    """An empty list or an empty reason is none."""
    unexplained = [one["number"] for one in FAULTS if not (one.get("tests") or one.get("note"))]
    empty = [one["number"] for one in FAULTS if "" in one.values() or [] in one.values()]

    assert ([], []) == (unexplained, empty)
    assert LEAST_WITH_TESTS <= sum("tests" in fault for fault in FAULTS)


def test_every_test_that_is_named_exists() -> None:
    """A test that is renamed is renamed here, too."""
    named = {name for fault in FAULTS for name in fault.get("tests", [])}
    missing = [name for name in sorted(named) if not _exists(*name.split("::"))]

    assert [] == missing


def _exists(path: str, test: str) -> bool:
    return (ROOT / path).is_file() and test.startswith("test_") and test in _tests_in(path)
