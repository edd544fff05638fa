"""The schemas say what the gateway accepts and tells."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from gateway.actions import ACTIONS, Action
from gateway.asyncapi import document, examples
from gateway.core.messages import CommandId, Conclusion, Effect, Outcome, Result, Tick, TickMode
from gateway.envelope import result_body, tick_body
from gateway.errors import InvalidCommand
from gateway.schemas import REFERENCE, RESPONSES, everything, schema_of, schemas
from tests.actions.cases import CASES
from tests.support.schemas import check

AT = "2026-01-31T12:00:00Z"


@pytest.mark.parametrize("name", schemas())
def test_schema_is_one(name: str) -> None:
    """Each is a JSON Schema by itself, and refers to nothing that is not in it."""
    schema = schema_of(name)

    Draft202012Validator.check_schema(schema)
    assert REFERENCE not in str(schema)


def test_all_are_in_one_file() -> None:
    """What docs/schemas.json holds can be referred to by name."""
    whole = everything()
    schema = {**whole, "$ref": "#/$defs/state"}

    Draft202012Validator(schema).validate({"state": "not_known", "result": None})
    with pytest.raises(ValidationError):
        Draft202012Validator(schema).validate({"state": "lost", "result": None})


@pytest.mark.parametrize(("name", "body"), examples())
def test_example_fits(name: str, body: Any) -> None:
    """What the document shows is what it describes."""
    if name in schemas():
        check(name, body)


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_example_is_accepted_by_both(action: Action) -> None:
    """The schema and the model take the same body; neither takes a stranger's parameter."""
    body = action.parameters.example | {"id": "a-1", "deadline": AT}
    check(f"{action.name}.request", body)
    with pytest.raises(ValidationError):
        check(f"{action.name}.request", body | {"stranger": 1})
    with pytest.raises(InvalidCommand, match="stranger"):
        action.validate(action.parameters.example | {"stranger": 1})


def test_schema_takes_what_the_model_takes() -> None:
    """Of the table of all actions, whatever is not denied for its parameters fits the schema."""
    tried = 0
    for case in CASES:
        if case.prepare is not None or case.action not in ACTIONS:
            continue
        try:
            ACTIONS[case.action].validate(case.params)
        except InvalidCommand:
            continue
        if any(isinstance(v, str) and v.islower() and v.upper() != v for v in case.params.values()):
            continue  # names in lower case are taken, and not advertised
        check(f"{case.action}.request", case.params)
        tried += 1

    assert tried > 50


def test_every_action_says_what_it_answers() -> None:
    """Nobody adds an action without a shape for its response."""
    assert set(ACTIONS) == set(RESPONSES)


def test_tick_and_result_fit() -> None:
    """What is written is what is described."""
    tick = Tick(1, "EURUSD", 1, 1, 1.1, None, 0.0, 0.0, TickMode.SAMPLED)
    denied = Result(CommandId(None, "1"), "t", "X", Conclusion(Outcome.DENIED), 0, 0, 0, 0)

    check("tick", tick_body(tick))
    check("result", result_body(denied))
    with pytest.raises(ValidationError):
        check("result", result_body(denied) | {"outcome": "lost"})


def test_document_names_every_action_and_resolves() -> None:
    """Each has its operation, its request and its result; every reference leads somewhere."""
    whole = document()
    for action in ACTIONS.values():
        kinds = ["query"] if action.effect is Effect.QUERY else ["trade", "job"]
        for kind in kinds:
            operation = whole["operations"][f"{kind}.{action.name}"]
            assert "receive" == operation["action"]
            assert kind in whole["channels"][f"{kind}.{action.name}"]["address"]
    for target in _references(whole):
        at = whole
        for part in target.removeprefix("#/").split("/"):
            at = at[part]


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [target for inner in value.values() for target in _references(inner)]
    if isinstance(value, list):
        return [target for inner in value for target in _references(inner)]
    return []
