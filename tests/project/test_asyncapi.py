"""The AsyncAPI document as AsyncAPI's own parser reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARSER = "@asyncapi/parser@3.6.3"
INFORMATION = 2
"""Diagnostics of this severity are advice."""

CHECK = """
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
for (const said of diagnostics)
  console.log(said.severity, said.code, said.path.join("."), said.message);
console.log(document === undefined ? "invalid" : "valid");
"""


@pytest.mark.system("node", "npm")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("spoiled", [False, True], ids=["as it is", "spoiled"])
def test_document_is_valid(
    spoiled: bool, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It has no error and no warning; one with a broken reference has."""
    folder = _parser(tmp_path_factory)
    text = (ROOT / "docs/asyncapi.json").read_text("utf-8")
    file = tmp_path / "asyncapi.json"
    file.write_text(text.replace("#/channels/tick/", "#/channels/tack/") if spoiled else text)
    said = subprocess.run(
        ["node", "check.mjs", str(file)], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    complaints = [line for line in said[:-1] if int(line.split()[0]) < INFORMATION]

    assert spoiled == bool(complaints), complaints
    assert ("invalid" if spoiled else "valid") == said[-1]


def _parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the parser, once a session."""
    folder = tmp_path_factory.getbasetemp() / "asyncapi-parser"
    if not folder.exists():
        folder.mkdir()
        (folder / "check.mjs").write_text(CHECK)
        install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run([*install, "--prefix", str(folder), PARSER], check=True, cwd=folder)
    return folder
