"""Imports point inward: `core` decides, two flows drive, the edges touch the world."""

import ast
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.syntax import parse

ROOT = Path(__file__).resolve().parents[2]

ANYTHING = frozenset({"gateway"})
FOUNDATION = frozenset(
    {
        "gateway.actions",
        "gateway.cancellation",
        "gateway.config",
        "gateway.core",
        "gateway.errors",
        "gateway.policy_settings",
    }
)
CATALOGUE = frozenset({"gateway.core", "gateway.errors", "gateway.mt4_enums"})
BODIES = frozenset({"gateway.subjects", "gateway.envelope"})  # what gateway and clients share
LOGIN = frozenset({"gateway.nats_connection", "gateway.nats_login"})
EDGES = frozenset(
    {"gateway.bus", "gateway.jobs", "gateway.journal", "gateway.metrics", "gateway.terminal"}
)
FLOW = FOUNDATION | BODIES | EDGES | {"gateway.policy"}

# What each module (or package, with all in it) may import inside the gateway, besides itself.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "gateway.core": frozenset({"gateway.errors"}),
    "gateway.errors": frozenset(),
    "gateway.cancellation": frozenset(),
    "gateway.sim": frozenset(),
    "gateway.mt4_enums": frozenset(),
    "gateway.fields": CATALOGUE,
    "gateway.parameters": CATALOGUE | {"gateway.fields"},
    "gateway.trade_parameters": CATALOGUE | {"gateway.fields", "gateway.parameters"},
    "gateway.actions": CATALOGUE
    | {"gateway.fields", "gateway.parameters", "gateway.trade_parameters"},
    "gateway.config": FOUNDATION,
    "gateway.policy_settings": frozenset(),
    "gateway.policy": FOUNDATION | {"gateway.symbols"},
    "gateway.policy_reload": FOUNDATION,
    "gateway.guard": FOUNDATION
    | {"gateway.events", "gateway.policy", "gateway.screening", "gateway.symbols"},
    "gateway.subjects": frozenset(),
    "gateway.envelope": frozenset({"gateway.core", "gateway.errors"}),
    "gateway.acl": FOUNDATION | {"gateway.subjects"},
    "gateway.bus": FOUNDATION | BODIES | LOGIN | {"gateway.audit_chain", "gateway.metrics"},
    "gateway.journal": FOUNDATION | BODIES | {"gateway.metrics", "gateway.policy"},
    "gateway.jobs": FOUNDATION | BODIES | {"gateway.metrics", "gateway.journal"},
    "gateway.calls": frozenset({"gateway.core"}),
    "gateway.metrics": FOUNDATION,
    "gateway.http_server": frozenset({"gateway.errors"}),
    "gateway.status": FOUNDATION | {"gateway.http_server", "gateway.metrics"},
    "gateway.terminal": FOUNDATION | {"gateway.metrics"},
    "gateway.client": FOUNDATION | BODIES | LOGIN,
    "gateway.audit": FOUNDATION | BODIES,
    "gateway.audit_chain": frozenset({"gateway.core", "gateway.envelope"}),
    "gateway.schemas": FOUNDATION | BODIES | {"gateway.tick"},
    "gateway.asyncapi": FOUNDATION | BODIES | {"gateway.schemas"},
    "gateway.wishes": FOUNDATION,
    "gateway.work": FOUNDATION | {"gateway.audit"},
    "gateway.results": FLOW | {"gateway.audit", "gateway.replies", "gateway.work"},
    "gateway.commands": FLOW
    | {
        "gateway.audit",
        "gateway.guard",
        "gateway.results",
        "gateway.screening",
        "gateway.unknowns",
        "gateway.wishes",
        "gateway.work",
    },
    "gateway.unknowns": FLOW | {"gateway.guard", "gateway.replies"},
    "gateway.symbols": frozenset({"gateway.core"}),
    "gateway.screening": frozenset({"gateway.core", "gateway.symbols", "gateway.tick"}),
    "gateway.replies": frozenset({"gateway.core", "gateway.mt4_enums"}),
    "gateway.tick": frozenset({"gateway.errors", "gateway.fields"}),
    "gateway.ticks": FLOW | {"gateway.tick"},
    "gateway.events": frozenset({"gateway.core"}),
    "gateway.app": FLOW
    | {
        "gateway.audit",
        "gateway.calls",
        "gateway.commands",
        "gateway.events",
        "gateway.policy_reload",
        "gateway.front_door",
        "gateway.replies",
        "gateway.status",
        "gateway.ticks",
    },
    "gateway.existing_server": FOUNDATION | {"gateway.envelope"},
    "gateway.front_door": FOUNDATION
    | {"gateway.envelope", "gateway.existing_server", "gateway.terminal"},
    "gateway.keys": frozenset({"gateway.errors", "gateway.terminal"}),
    "gateway.cli": ANYTHING,
    "gateway.send_words": frozenset({"gateway.actions", "gateway.core"}),
    "gateway.completion": frozenset(
        {"gateway.actions", "gateway.errors", "gateway.fields", "gateway.mt4_enums"}
    ),
    "gateway.demo": ANYTHING,
    "gateway.doctor": ANYTHING,
    "gateway.explain": FOUNDATION | BODIES | {"gateway.audit_chain", "gateway.journal"},
    "gateway.testing": ANYTHING,
    "gateway.terminal_check": frozenset({"gateway.client", "gateway.core", "gateway.doctor"}),
    "gateway.demo_view": frozenset({"gateway.demo"}),
    "gateway.nats_login": frozenset({"gateway.config", "gateway.errors"}),
    "gateway.nats_connection": frozenset({"gateway.nats_login"}),
    "gateway.logs": frozenset({"gateway.config", "gateway.envelope"}),
    "gateway.__main__": frozenset({"gateway.cli"}),
    "gateway": frozenset(),
}

# The only files that may import a library (patterns; `*` includes sub-folders).
LIBRARY_HOMES: dict[str, tuple[str, ...]] = {
    "argcomplete": ("gateway/completion.py",),
    "msgspec": ("gateway/tick.py",),
    "nacl": ("gateway/nats_login.py",),
    "nats": (
        "gateway/bus.py",
        "gateway/client/*",
        "gateway/doctor.py",
        "gateway/explain.py",
        "gateway/jobs.py",
        "gateway/journal/*",
        "gateway/nats_connection.py",
    ),
    "prometheus_client": ("gateway/metrics.py",),
    "rich": ("gateway/cli*", "gateway/demo*"),
    "zmq": ("gateway/front_door.py", "gateway/sim/*", "gateway/terminal/*"),
}

# Time, chance and input are arguments in the core; these would bring them in by the back door.
IMPURE = frozenset({"asyncio", "logging", "random", "socket", "time"})
PURE = sys.stdlib_module_names - IMPURE


class Import(NamedTuple):
    """One imported name, absolute, with the file and line that import it."""

    path: str
    line: int
    target: str

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def library(self) -> str:
        return self.target.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.module} must not import {self.target}"


def test_modules_import_only_inward() -> None:
    """Every module stays inside its row of MAY_IMPORT."""
    broken = [str(used) for used in _gateway_imports() if not points_inward(used)]

    assert not broken, "\n".join(broken)


def test_every_module_has_a_row() -> None:
    """A new module says where it belongs before anything else uses it."""
    modules = {Import(path, 0, "").module for path in _gateway_files()} - {"gateway"}
    without_row = sorted(module for module in modules if row_of(module) == "gateway")

    assert not without_row, f"add to MAY_IMPORT: {', '.join(without_row)}"


def test_libraries_stay_in_their_home() -> None:
    """A third-party library can be replaced by rewriting one file or folder."""
    broken = [str(used) for used in _gateway_imports() if not is_at_home(used)]

    assert not broken, "\n".join(broken)


def test_core_is_pure() -> None:
    """The core has no clock, no chance, no input and no library, so every race is a unit test."""
    broken = [str(used) for used in _gateway_imports() if not is_pure(used)]

    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("gateway/core/lanes.py", "from gateway.config import Config"),
        ("gateway/core/lanes.py", "from .. import config"),
        ("gateway/core/__init__.py", "from ..bus import Bus"),
        ("gateway/__init__.py", "from gateway.app import run"),
        ("gateway/terminal/zmq.py", "import gateway.commands"),
        ("gateway/sim/terminal.py", "def late() -> None:\n    from gateway.core import messages"),
    ],
)
def test_outward_import_is_found(path: str, source: str) -> None:
    """The rule sees absolute, relative and late imports."""
    assert [False] == [points_inward(used) for used in imports_of(path, source)]


def points_inward(used: Import) -> bool:
    """Tell whether the module's row allows this import; libraries are another test's matter."""
    row = row_of(used.module)
    allowed = MAY_IMPORT[row] | ({row, "gateway.__version__"} - {"gateway"})
    return used.library != "gateway" or any(_is_within(used.target, name) for name in allowed)


def is_at_home(used: Import) -> bool:
    """Tell whether the file is one of the library's homes."""
    homes = LIBRARY_HOMES.get(used.library)
    return homes is None or any(fnmatch(used.path, home) for home in homes)


def is_pure(used: Import) -> bool:
    """Tell whether the core may import this; anything goes elsewhere."""
    return not _is_within(used.module, "gateway.core") or used.library in PURE | {"gateway"}


def row_of(module: str) -> str:
    """Return the closest row of MAY_IMPORT: the module itself or a package around it."""
    while module not in MAY_IMPORT:
        module = module.rpartition(".")[0]
    return module


def imports_of(path: str, source: str) -> Iterator[Import]:
    """List every import of one file, wherever in the file it stands."""
    package = Path(path).parent.parts
    for node in ast.walk(parse(source, path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            around = package[: len(package) - node.level + 1] if node.level else ()
            base = [*around, node.module] if node.module else [*around]
            for alias in node.names:
                yield Import(path, node.lineno, ".".join([*base, alias.name]))


def _is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _gateway_files() -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "gateway").rglob("*.py"))


def _gateway_imports() -> Iterator[Import]:
    for path in _gateway_files():
        yield from imports_of(path, (ROOT / path).read_text(encoding="utf-8"))
