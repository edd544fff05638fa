"""Bodies against the schemas that are told to users."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from gateway.schemas import schema_of


@lru_cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schema_of(name), format_checker=FormatChecker())


def check(name: str, body: Any) -> None:
    """Insist that a body fits a schema.

    Raises:
        ValidationError: It does not; says where.
    """
    _validator(name).validate(body)
