"""What `mt4-gateway asyncapi` prints."""

from __future__ import annotations

import json

import pytest

from gateway.asyncapi import document
from gateway.cli import main
from gateway.schemas import schema_of


def test_asyncapi_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole document, or one schema; a name that is none is a mistake."""
    codes, printed = [], []
    for arguments in (["asyncapi"], ["asyncapi", "--schema", "tick"]):
        codes.append(main(arguments))
        printed.append(json.loads(capsys.readouterr().out))
    codes.append(main(["asyncapi", "--schema", "tock"]))

    assert [0, 0, 2] == codes
    assert document() == printed[0]
    assert schema_of("tick") == printed[1]
    assert "known: order, error" in capsys.readouterr().err
