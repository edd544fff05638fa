"""The schema of the chart's values: strict, and its `config` is the gateway's own."""

from __future__ import annotations

import copy
from typing import Any

from gateway.config import Config

Schema = dict[str, Any]

LABEL_NAME = (
    r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
)
LABEL_VALUE = r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$"
DNS_NAME = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
ENDPOINT = r"^tcp://(\*|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?):[0-9]{1,5}$"
DURATION = r"^([1-9][0-9]{0,4}(ms|s|m|h))?$"
CIDR = r"^[0-9a-fA-F.:]+/[0-9]{1,3}$"
MARKS = r"^[^\x00-\x1f\x7f-\x9f" + "\ufeff\ufffe\uffff" + "]*$"
"""One line of what YAML can hold; Helm drops silently what it cannot."""

# What the chart sets itself, and what has no place in a ConfigMap.
NOT_IN_VALUES = {
    "terminal": {
        *("name", "request_endpoint", "tick_endpoint"),
        # A pipe does not leave the machine that the terminal runs on.
        *("transport", "pipe_name", "pipe_mode", "pipe_symbol", "pipe_call"),
    },
    "http": {"address"},
}


def text(pattern: str = MARKS, **more: Any) -> Schema:
    """Describe a string."""
    return {"type": "string", "pattern": pattern, **more}


def choice(*values: str) -> Schema:
    """Describe one of a few words."""
    return {"type": "string", "enum": list(values)}


def count(minimum: int = 0, maximum: int = 2**31 - 1) -> Schema:
    """Describe a whole number."""
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def listing(items: Schema) -> Schema:
    """Describe a list."""
    return {"type": "array", "items": items}


def strict(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """Describe a map whose keys are all known."""
    found: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return found | ({"required": list(required)} if required else {})


BOOLEAN: Schema = {"type": "boolean"}
KUBERNETES: Schema = {"type": "object"}
"""A part of a Kubernetes object: its schema is the cluster's."""

NAME = text(DNS_NAME)
NAME_OR_EMPTY = text(r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$")
PORT = count(1, 65535)
QUANTITY = {"type": ["integer", "string"], "minimum": 0, "pattern": r"^([0-9]+%?)?$"}
ANNOTATIONS: Schema = {
    "type": "object",
    "propertyNames": {"pattern": LABEL_NAME},
    "additionalProperties": text(r"^([^\x00-\x1f\x7f-\x9f" + "\ufeff\ufffe\uffff" + r"]|[\t\n])*$"),
}
LABELS: Schema = ANNOTATIONS | {"additionalProperties": text(LABEL_VALUE)}


def values() -> Schema:
    """Describe every key of values.yaml."""
    properties = _names() | _gateway() | _pod() | _network() | _extras() | _monitoring()
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": "Written by deploy/generate.py. Change deploy/chart_schema.py.",
        "title": "Values of mt4-gateway",
        **strict(**properties),
        "required": ["terminals"],
    }


def _names() -> dict[str, Schema]:
    image = strict(
        registry=text(r"^([a-zA-Z0-9][a-zA-Z0-9.:/_-]*[a-zA-Z0-9])?$"),
        repository=text(r"^[a-z0-9]+([._/-]+[a-z0-9]+)*$"),
        tag=text(r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"),
        digest=text(r"^(sha256:[0-9a-f]{64})?$"),
        pullPolicy=choice("Always", "IfNotPresent", "Never"),
        pullSecrets=listing(NAME),
    )
    registry = text(r"^([a-zA-Z0-9][a-zA-Z0-9.:/_-]*[a-zA-Z0-9])?$")
    return {
        "nameOverride": text(r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$"),
        "fullnameOverride": text(r"^([a-z]([a-z0-9-]{0,24}[a-z0-9])?)?$"),
        "namespaceOverride": text(r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$"),
        "commonLabels": LABELS,
        "commonAnnotations": ANNOTATIONS,
        # Not strict: a parent chart puts its own keys here.
        "global": {
            "type": "object",
            "properties": {"imageRegistry": registry, "imagePullSecrets": listing(NAME)},
        },
        "image": image,
    }


def _gateway() -> dict[str, Schema]:
    config, secrets = gateway_config(), secret_keys()
    secret = strict(
        ("config", "secretName", "secretKey"),
        config=choice(*secrets),
        secretName=NAME,
        secretKey=text(r"^[-._a-zA-Z0-9]{1,253}$"),
    )
    terminal = strict(
        ("name",),
        name=text(r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"),
        requestEndpoint=text(ENDPOINT),
        tickEndpoint=text(ENDPOINT),
        simulated=BOOLEAN,
        unencrypted=BOOLEAN,
        config=config,
        secrets=listing(secret),
        networkCidr=text(CIDR),
        resources=KUBERNETES,
        nodeSelector=LABELS,
        tolerations=listing(KUBERNETES),
        podAnnotations=ANNOTATIONS,
    )
    return {
        "terminals": listing(terminal) | {"minItems": 1},
        "config": config,
        "secrets": listing(secret),
        "ha": strict(enabled=BOOLEAN, replicas=count(2, 5)),
        "tests": strict(
            enabled=BOOLEAN,
            secrets=listing(secret),
            env=listing(KUBERNETES),
            timeoutSeconds=count(1, 600),
        ),
    }


def gateway_config() -> Schema:
    """Derive the schema of `config` from the gateway's configuration."""
    schema = Config.model_json_schema()
    sections = {}
    for section, part in schema["properties"].items():
        found = copy.deepcopy(schema["$defs"][part["$ref"].rpartition("/")[2]])
        kept = {
            key: _plain(field, schema["$defs"])
            for key, field in found["properties"].items()
            if key not in NOT_IN_VALUES.get(section, ()) and not _is_secret(field)
        }
        if kept:
            sections[section] = strict(**kept)
    return strict(**sections)


def secret_keys() -> list[str]:
    """List the keys that are given by `secrets`: files, and what must not be printed."""
    schema = Config.model_json_schema()
    sections = {
        section: schema["$defs"][part["$ref"].rpartition("/")[2]]
        for section, part in schema["properties"].items()
    }
    return [
        f"{section}.{key}"
        for section, part in sections.items()
        for key, field in part["properties"].items()
        if _is_secret(field)
    ]


def _is_secret(field: Schema) -> bool:
    kinds = [field, *field.get("anyOf", [])]
    return any(kind.get("writeOnly") or kind.get("format") == "path" for kind in kinds)


def _plain(field: Schema, definitions: dict[str, Schema]) -> Schema:
    """Drop titles and defaults: the default is the gateway's, and is documented there."""
    if "$ref" in field:
        keys = definitions[field["$ref"].rpartition("/")[2]]["properties"]
        return strict(**{key: _plain(value, definitions) for key, value in keys.items()})
    kept = {key: value for key, value in field.items() if key not in ("title", "default")}
    if "anyOf" in kept:
        kept["anyOf"] = [_plain(one, definitions) for one in kept["anyOf"]]
    if kept.get("type") == "array":
        kept["items"] = _plain(kept["items"], definitions)
    if "patternProperties" in kept:
        tables = kept["patternProperties"].items()
        kept["patternProperties"] = {name: _plain(table, definitions) for name, table in tables}
        kept["additionalProperties"] = False
    if kept.get("type") == "string" and not {"pattern", "enum", "const"} & set(kept):
        kept["pattern"] = MARKS
    return kept


def _pod() -> dict[str, Schema]:
    probe = strict(
        enabled=BOOLEAN,
        periodSeconds=count(1),
        timeoutSeconds=count(1),
        failureThreshold=count(1),
        handler=strict(exec=KUBERNETES, httpGet=KUBERNETES, tcpSocket=KUBERNETES),
    )
    return {
        "probes": strict(startup=probe, liveness=probe, readiness=probe),
        "resources": KUBERNETES,
        "podSecurityContext": KUBERNETES,
        "containerSecurityContext": KUBERNETES,
        "adaptSecurityContext": choice("auto", "force", "disabled"),
        "serviceAccount": strict(create=BOOLEAN, name=NAME_OR_EMPTY, annotations=ANNOTATIONS),
        "podDisruptionBudget": strict(
            enabled=BOOLEAN, minAvailable=QUANTITY, maxUnavailable=QUANTITY
        ),
        "topologySpread": strict(
            enabled=BOOLEAN,
            topologyKey=text(LABEL_NAME),
            whenUnsatisfiable=choice("ScheduleAnyway", "DoNotSchedule"),
        ),
        "nodeSelector": LABELS,
        "tolerations": listing(KUBERNETES),
        "affinity": KUBERNETES,
        "priorityClassName": NAME_OR_EMPTY,
        "hostNetwork": BOOLEAN,
        "httpPort": PORT,
        "revisionHistoryLimit": count(),
        "terminationGracePeriodSeconds": count(15),
        "configChecksumAnnotation": BOOLEAN,
        "podLabels": LABELS,
        "podAnnotations": ANNOTATIONS,
        "diagnosticMode": strict(enabled=BOOLEAN),
    }


def _network() -> dict[str, Schema]:
    return {
        "service": strict(
            type=choice("ClusterIP", "NodePort", "LoadBalancer"),
            port=PORT,
            annotations=ANNOTATIONS,
        ),
        "networkPolicy": strict(
            enabled=BOOLEAN,
            metricsFrom=listing(KUBERNETES),
            frontDoorFrom=listing(KUBERNETES),
            dnsTo=listing(KUBERNETES),
            natsTo=listing(KUBERNETES),
            natsPorts=listing(PORT) | {"minItems": 1},
            extraIngress=listing(KUBERNETES),
            extraEgress=listing(KUBERNETES),
        ),
    }


def _extras() -> dict[str, Schema]:
    lists = ("Env", "EnvFrom", "Volumes", "VolumeMounts", "InitContainers", "Containers")
    return {f"extra{name}": listing(KUBERNETES) for name in lists} | {
        "extraObjects": listing({"type": ["object", "string"]}),
        "deploymentOverrides": KUBERNETES,
        "simulator": strict(arguments=listing(text()), resources=KUBERNETES),
    }


def _monitoring() -> dict[str, Schema]:
    monitor = strict(
        enabled=BOOLEAN,
        namespace=NAME_OR_EMPTY,
        additionalLabels=LABELS,
        interval=text(DURATION),
        scrapeTimeout=text(DURATION),
        honorLabels=BOOLEAN,
        relabelings=listing(KUBERNETES),
        metricRelabelings=listing(KUBERNETES),
    )
    rule = strict(
        enabled=BOOLEAN,
        namespace=NAME_OR_EMPTY,
        additionalLabels=LABELS,
        runbookUrlPrefix=text(),
        disabled=listing(text(r"^Mt4Gateway[A-Za-z]+$")),
        additionalRuleLabels=LABELS,
        extraRules=listing(KUBERNETES),
    )
    dashboards = strict(
        enabled=BOOLEAN,
        namespace=NAME_OR_EMPTY,
        label=text(LABEL_NAME),
        labelValue=text(LABEL_VALUE),
        annotations=ANNOTATIONS,
    )
    return {
        "monitoring": strict(
            renderMode=choice("failIfMissing", "skipIfMissing", "alwaysRender"),
            serviceMonitor=monitor,
            podMonitor=monitor,
            prometheusRule=rule,
            dashboards=dashboards,
        )
    }
