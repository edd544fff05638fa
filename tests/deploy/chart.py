"""Render and judge the chart with Helm's own library."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/mt4-gateway"
VALUES_FILES = sorted((CHART / "ci").glob("*-values.yaml"))
OPERATOR = [
    f"monitoring.coreos.com/v1/{kind}"
    for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule")
]
KUBERNETES = ("1.27", "1.29", "1.31", "1.33", "1.35", "1.36", "1.37")

Manifest = dict[str, Any]
Values = dict[str, Any]


def read_values(path: Path) -> Values:
    """Read a values file."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def render(
    values: Values | None = None,
    *,
    name: str = "gw",
    namespace: str = "trading",
    apis: list[str] = OPERATOR,
    **options: Any,
) -> dict[str, str]:
    """Render as `helm template` does; the text of each template by its path.

    Raises:
        HelmError: The values do not fit the schema, or a template refuses them.
    """
    import helm_python  # noqa: PLC0415 - of requirements-deploy.lock
    from helm_python import _native  # noqa: PLC0415 - its render() has not these options

    options |= {"name": name, "namespace": namespace, "api_versions": apis, "strict": True}
    with helm_python.Chart.load(str(CHART)) as chart:
        rendered: dict[str, str] = json.loads(
            _native.call_string(
                "helm_render", chart._raw(), json.dumps(values or {}), json.dumps(options)
            )
        )
    return {path.removeprefix("mt4-gateway/templates/"): text for path, text in rendered.items()}


def manifests(values: Values | None = None, **options: Any) -> list[Manifest]:
    """Render and parse every object."""
    rendered = render(values, **options)
    return [
        found
        for path, text in rendered.items()
        if path.endswith(".yaml")
        for found in yaml.load_all(text, Loader=yaml.CSafeLoader)
        if found
    ]


def only(found: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """Return the one object of a kind (and name)."""
    (one,) = (
        each
        for each in found
        if each["kind"] == kind and (name is None or each["metadata"]["name"] == name)
    )
    return one


def pod_specs(found: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield every pod's specification, with the name of what has it."""
    for each in found:
        if each["kind"] == "Pod":
            yield each["metadata"]["name"], each["spec"]
        elif each["kind"] == "Deployment":
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def gateway_toml(found: list[Manifest], terminal: str) -> str:
    """Return the configuration file of one terminal's gateway."""
    (text,) = (
        each["data"]["gateway.toml"]
        for each in found
        if each["kind"] == "ConfigMap"
        and "gateway.toml" in each.get("data", {})
        and each["metadata"]["labels"]["mt4-gateway/terminal"] == terminal
    )
    return str(text)


@functools.cache
def _operator_models() -> dict[str, Any]:
    from cloudcoil.models.prometheus_operator import v1  # noqa: PLC0415 - takes a second

    return {kind: getattr(v1, kind) for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule")}


@functools.cache
def _kubernetes() -> Any:
    from kubernetes_validate import utils  # noqa: PLC0415 - of requirements-deploy.lock

    # It would read all definitions of a version again for each object.
    utils.schema_contents = functools.cache(utils.schema_contents)
    return utils


def validate(manifest: Manifest, version: str) -> None:
    """Hold an object against Kubernetes' or the operator's schema; unknown keys are refused.

    Raises:
        ValidationError: What does not fit.
        AssertionError: Keys that the operator's model does not know.
    """
    if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
        model = _operator_models()[manifest["kind"]].model_validate(manifest)
        kept = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert [] == lost_keys(manifest, kept)
        return
    _kubernetes().validate(manifest, version, strict=True)


def lost_keys(given: Any, kept: Any, at: str = "") -> list[str]:
    """List the paths that a round trip through a model has dropped."""
    if isinstance(given, dict):
        gone = [f"{at}.{key}" for key in given if not isinstance(kept, dict) or key not in kept]
        return gone + [
            path
            for key, value in given.items()
            if isinstance(kept, dict) and key in kept
            for path in lost_keys(value, kept[key], f"{at}.{key}")
        ]
    if isinstance(given, list):
        return [
            path
            for index, value in enumerate(given)
            for path in lost_keys(value, kept[index], f"{at}[{index}]")
        ]
    return []
