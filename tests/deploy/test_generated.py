"""What is derived is current, and the values that are shown are valid: needs no Helm."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from deploy import chart_readme, generate
from gateway.app import DRAIN_GRACE_S
from tests.deploy.chart import CHART, VALUES_FILES, read_values

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
DEFAULTS = read_values(CHART / "values.yaml")


def test_derived_files_are_current() -> None:
    """Else run `python deploy/generate.py`."""
    assert [] == generate.outdated()


def test_default_values_fit_the_schema() -> None:
    """What is delivered is valid."""
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(DEFAULTS)


def test_schema_knows_no_other_keys_than_the_values() -> None:
    """A key without a default is a key nobody can find."""
    assert set(SCHEMA["properties"]) == set(DEFAULTS)


@pytest.mark.parametrize("path", VALUES_FILES, ids=lambda path: path.stem)
def test_examples_fit_the_schema(path: Path) -> None:
    """Each example of ci/ is valid on top of the defaults."""
    values = {"terminals": DEFAULTS["terminals"], **read_values(path)}

    jsonschema.Draft7Validator(SCHEMA).validate(values)


def test_every_value_is_explained() -> None:
    """The README has a line for each key of values.yaml that is not a map of such keys."""
    explained = {path for path, _, _ in chart_readme.described()}
    unexplained = [
        path
        for path in leaves(DEFAULTS)
        if not any(path == known or path.startswith(f"{known}.") for known in explained)
    ]

    assert [] == unexplained


def leaves(values: object, path: str = "") -> list[str]:
    """List the paths of all keys that hold no further map."""
    if not isinstance(values, dict) or not values:
        return [path]
    return [
        leaf
        for key, value in values.items()
        for leaf in leaves(value, f"{path}.{key}" if path else str(key))
    ]


def test_readme_example_is_valid() -> None:
    """A reader may copy the fleet."""
    example = chart_readme.HEAD.partition("```yaml\n")[2].partition("```")[0]

    jsonschema.Draft7Validator(SCHEMA).validate(yaml.safe_load(example))


def test_pods_get_longer_than_the_gateway_takes_to_drain() -> None:
    """SIGKILL must not come while a trade on the channel is being ended."""
    least = SCHEMA["properties"]["terminationGracePeriodSeconds"]["minimum"]

    assert DRAIN_GRACE_S + 5 <= least
    assert DRAIN_GRACE_S + 5 <= DEFAULTS["terminationGracePeriodSeconds"]


def test_versions_agree() -> None:
    """The chart installs the gateway of the same commit."""
    from gateway import __version__  # noqa: PLC0415 - a name that says too little above

    chart = read_values(CHART / "Chart.yaml")

    assert __version__ == chart["appVersion"]
