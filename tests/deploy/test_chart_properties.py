"""Whatever values fit the schema, the chart renders them into valid objects or says why not."""

from __future__ import annotations

import functools
import json
import os
import tomllib
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.config import Config
from tests.deploy.chart import CHART, gateway_toml, manifests, validate

pytestmark = [
    pytest.mark.system("python:helm_python", "python:kubernetes_validate", "python:cloudcoil"),
    pytest.mark.timeout(600),
]

EXAMPLES = int(os.environ.get("MT4GW_CHART_EXAMPLES", "50"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

# Refusals that the templates make themselves, each with its own message (see test_chart.py).
REFUSALS = (
    "used twice",
    "must not share a terminal",
    "set requestEndpoint",
    "go together",
    "one way to log in",
    "counted twice",
    "Set the other",
    "knows no host names",
    "share httpPort",
    "exclude each other",
    "holds a login",
    "networkPolicy.natsPorts",
    "nothing encrypts",
)

# Parts of Kubernetes objects: the schema leaves them to the cluster, so here are some of each.
OBJECTS: dict[str, list[Any]] = {
    "resources": [{}, {"limits": {"memory": "1Gi"}}],
    "affinity": [{}, {"podAntiAffinity": {}}],
    "podSecurityContext": [{"runAsNonRoot": True, "runAsUser": 1}],
    "containerSecurityContext": [{"readOnlyRootFilesystem": True}],
    "deploymentOverrides": [{}, {"spec": {"paused": True}}],
    "exec": [{"command": ["true"]}],
    "httpGet": [{"path": "/", "port": 1}],
    "tcpSocket": [{"port": 1}],
    "tolerations": [{"operator": "Exists"}],
    "metricsFrom": [{"podSelector": {}}],
    "frontDoorFrom": [{"podSelector": {}}],
    "dnsTo": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
    "natsTo": [{"namespaceSelector": {}}],
    "extraIngress": [{"ports": [{"port": 1}]}],
    "extraEgress": [{"ports": [{"port": 2}]}],
    "env": [{"name": "Y", "value": "y"}],
    "extraEnv": [{"name": "X", "value": "a: 'b' # \"c\""}],
    "extraEnvFrom": [{"secretRef": {"name": "x"}}],
    "extraVolumes": [{"name": "x", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "x", "mountPath": "/x"}],
    "extraInitContainers": [{"name": "x", "image": "x"}],
    "extraContainers": [{"name": "y", "image": "y"}],
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}],
    "relabelings": [{"targetLabel": "x", "replacement": "y"}],
    "metricRelabelings": [{"regex": "x", "action": "labeldrop"}],
    "extraRules": [{"alert": "X", "expr": "up == 0"}],
    "global": [{}, {"imageRegistry": "r.example", "imagePullSecrets": ["x"]}],
}


@functools.cache
def of_key(key: str) -> st.SearchStrategy[Any]:
    """Make values for one key of the values file; building this takes longer than using it."""
    return fitting(SCHEMA["properties"][key], key)


def fitting(schema: dict[str, Any], key: str = "") -> st.SearchStrategy[Any]:
    """Make values that fit a schema; `key` is the name under which they stand."""
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return st.one_of([fitting(one, key) for one in schema["anyOf"] if one["type"] != "null"])
    kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    if kind == "object":
        return _objects(schema, key)
    if kind == "array":
        if key in OBJECTS:
            return st.lists(st.sampled_from(OBJECTS[key]), max_size=1)
        items = fitting(schema["items"], key)
        return st.lists(items, min_size=schema.get("minItems", 0), max_size=3)
    if kind == "string":
        return _strings(schema)
    return _numbers(schema, kind)


def _objects(schema: dict[str, Any], key: str) -> st.SearchStrategy[Any]:
    if key in OBJECTS:
        return st.sampled_from(OBJECTS[key])
    if "patternProperties" in schema:  # a table for each client
        [(pattern, one)] = schema["patternProperties"].items()
        return st.dictionaries(_strings({"pattern": pattern}), fitting(one), max_size=2)
    if "properties" not in schema:  # labels and annotations
        names = _strings({"pattern": schema["propertyNames"]["pattern"]})
        return st.dictionaries(names, fitting(schema["additionalProperties"]), max_size=2)
    required = set(schema.get("required", []))
    if key == "handler":  # Kubernetes takes one
        choices = [
            st.fixed_dictionaries({name: fitting(one, name)})
            for name, one in schema["properties"].items()
        ]
        return st.one_of(st.just({}), *choices)
    return st.fixed_dictionaries(
        {name: fitting(schema["properties"][name], name) for name in required},
        optional={
            name: fitting(one, name)
            for name, one in schema["properties"].items()
            if name not in required
        },
    )


def _strings(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if "pattern" not in schema:
        found = st.text(max_size=30)
    else:
        # As JSON Schema means it: the end is the end, a digit is one of ASCII.
        pattern = schema["pattern"].replace("$", r"\Z").replace(r"\d", "[0-9]")
        found = st.from_regex(pattern)
    least, most = schema.get("minLength", 0), schema.get("maxLength", 1000)
    return found.filter(lambda text: least <= len(text) <= most)


def _numbers(schema: dict[str, Any], kind: str) -> st.SearchStrategy[Any]:
    if kind == "boolean":
        return st.booleans()
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    high = schema.get("maximum", 1_000_000)
    if kind == "integer":
        return st.integers(low, high)
    return st.floats(low, high, exclude_min="exclusiveMinimum" in schema)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 50,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # shrinking takes minutes; the values are short as they are
)
@given(st.data())
def test_any_fitting_values_render_into_valid_objects(data: st.DataObject) -> None:
    """No template breaks on a quote, an empty list or a long name; MT4GW_CHART_EXAMPLES=300."""
    whole = SCHEMA["properties"]
    some = data.draw(st.lists(st.sampled_from(sorted(whole)), unique=True, max_size=6))
    values = {key: data.draw(of_key(key), label=key) for key in some}
    try:
        found = manifests(values)
    except Exception as refused:
        if not any(reason in str(refused) for reason in REFUSALS):
            raise
        return
    for manifest in found:
        validate(manifest, "1.33")
    for terminal in values.get("terminals", [{"name": "demo"}]):
        toml = tomllib.loads(gateway_toml(found, terminal["name"]))
        assert set(toml) <= set(Config.model_fields)
        name = f"-{terminal['name']}"
        kinds = [each["kind"] for each in found if each["metadata"]["name"].endswith(name)]
        assert {"ConfigMap", "Deployment", "Service"} <= set(kinds), "Helm dropped something"
