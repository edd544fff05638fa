"""What docs/security.md promises of the repository itself, and that it names tests that exist."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.faults.test_catalogue import FAULTS
from tests.support.syntax import parse

ROOT = Path(__file__).resolve().parents[2]
SECURITY_FAULTS = range(65, 71)
MOST_RUNTIME_DEPENDENCIES = 6
UNSAFE = {"eval", "exec", "compile", "__import__"}
UNSAFE_MODULES = {"pickle", "marshal", "shelve", "yaml", "dill"}


def test_every_fault_of_security_has_tests() -> None:
    """S2. A reason alone is not enough here."""
    rows = {fault["number"]: fault.get("tests") for fault in FAULTS}

    assert [] == [number for number in SECURITY_FAULTS if not rows[number]]


def test_goals_name_tests_that_exist() -> None:
    """All ten goals are listed, and a test that is renamed is renamed there."""
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    goals = re.findall(r"^\| (S\d+) \|", page, re.MULTILINE)
    named = re.findall(r"\[`(test_\w+)`\]\(\.\./(tests/[\w/]+\.py)\)", page)
    missing = [f"{path}::{test}" for test, path in named if not _exists(path, test)]

    assert [f"S{number}" for number in range(1, 11)] == goals
    assert [] == missing
    assert len(named) > len(goals)


def _exists(path: str, test: str) -> bool:
    tree = parse((ROOT / path).read_text(encoding="utf-8"), path)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return test in {node.name for node in tree.body if isinstance(node, functions)}


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-dev.lock", "requirements-deploy.lock"]
)
def test_every_dependency_is_pinned_by_its_hash(name: str) -> None:
    """S7. What is installed is what was looked at, from whatever mirror."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^(?=[a-z0-9])(.+?)(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
    unpinned = [block.split()[0] for block in blocks if "==" not in block or "--hash=" not in block]

    assert blocks
    assert [] == unpinned


def test_runtime_dependencies_are_few() -> None:
    """S7. Each is somebody's code that runs beside the money."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert len(project["dependencies"]) <= MOST_RUNTIME_DEPENDENCIES


def test_linter_looks_for_unsafe_code() -> None:
    """S8. Bandit's rules, on all that runs in production; `make check` fails on a finding."""
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"][
        "lint"
    ]
    excused = {rule for rules in lint["per-file-ignores"].values() for rule in rules}

    assert "S" in lint["select"]
    assert not {"S102", "S301", "S307", "S506", "S602", "S604", "S605"} & {
        *lint["ignore"],
        *excused,
    }


def test_nothing_is_evaluated_or_unpickled() -> None:
    """S8. No text becomes code."""
    found = []
    for file in (ROOT / "gateway").rglob("*.py"):
        for node in ast.walk(parse(file.read_text(encoding="utf-8"), str(file))):
            match node:
                case ast.Call(func=ast.Name(id=name)) if name in UNSAFE:
                    found.append(f"{file.name}:{node.lineno}: {name}")
                case ast.Import(names=names):
                    found += [f"{file.name}: {n.name}" for n in names if n.name in UNSAFE_MODULES]

    assert [] == found
