"""`make audit` asks about each locked package, and fails where a vulnerability is known.

The database is a stand-in on loopback, for the real one is another each day.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.chart import ROOT
from tests.support.locks import locked

pytestmark = [pytest.mark.timeout(300), pytest.mark.system("python:pip_audit")]


@dataclass
class Database:
    """Answers as OSV does (osv.dev, "POST /v1/query")."""

    url: str = ""
    vulnerable: str = ""
    asked: set[tuple[str, str]] = field(default_factory=set)

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Tell what is known of one version of a package."""
        package = question["package"]
        self.asked.add((package["name"], question["version"]))
        if package["name"] != self.vulnerable:
            return {}
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}]
        affected = [{"package": package, "ranges": ranges}]
        return {"vulns": [{"id": "PYSEC-0", "summary": "bad", "affected": affected}]}


@pytest.fixture
def database() -> Iterator[Database]:
    """Serve a database that knows of nothing."""
    database = Database()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(database.answer(question)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        database.url = f"http://127.0.0.1:{server.server_port}/v1/query"
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield database
        server.shutdown()
        serving.join()


NOTHING_IS_THERE = """
import requests

def gone(*_, **__):
    answer = requests.Response()
    answer.status_code = 404
    return answer

requests.Session.get = gone
"""
"""Stands in for the index, whose address pip-audit takes from nobody."""


def audit(database: Database, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run the chore."""
    return run("-s", "osv", "--osv-url", database.url, "--cache-dir", str(cache))


def run(*where: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the chore with a database."""
    return subprocess.run(
        [sys.executable, "dev.py", "audit", *where],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_locked_package_is_asked_about(database: Database, tmp_path: Path) -> None:
    """With its version; where nothing is known the audit passes."""
    done = audit(database, tmp_path)
    runtime = locked("requirements.lock")

    assert 0 == done.returncode, done.stderr
    assert 10 < len(runtime)
    assert runtime <= database.asked


def test_known_vulnerability_fails_the_audit(database: Database, tmp_path: Path) -> None:
    """And is named."""
    database.vulnerable = "pyzmq"
    done = audit(database, tmp_path)

    assert 1 == done.returncode
    assert re.search(r"pyzmq +[\d.]+ +PYSEC-0 +99", done.stdout)


def test_package_that_was_taken_away_fails_the_audit(tmp_path: Path) -> None:
    """The index knows it no more, so nobody can say that it is well."""
    (tmp_path / "sitecustomize.py").write_text(NOTHING_IS_THERE, encoding="utf-8")
    done = run("-s", "pypi", "--cache-dir", str(tmp_path), PYTHONPATH=str(tmp_path))

    assert 1 == done.returncode, done.stdout
    assert "could not be audited" in done.stderr
