"""The chart's README: what it is for, and every key from the comments of values.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

VALUES = Path(__file__).parent / "helm/mt4-gateway/values.yaml"
COMMENT = re.compile(r"^( *)# (-- )?(.*)$")
KEY = re.compile(r"^( *)([A-Za-z]+):")

HEAD = """# mt4-gateway

<!-- Written by deploy/generate.py. Change deploy/chart_readme.py or values.yaml, then run it. -->

Gateways between MetaTrader 4 terminals and NATS, one per terminal, on Kubernetes 1.27 or newer.

## Try it

With a NATS server, 2.14 or newer, that has JetStream, here at `nats:4222` in the same namespace:

```sh
helm install gw deploy/helm/mt4-gateway --set image.registry=REGISTRY
helm test gw
```

As delivered there is one **simulated** terminal, and trading is off. `helm test` asks it for its
account over the bus. Where NATS knows permissions (`mt4-gateway acl`) the gateway's user may not ask:
give the test a viewer's login by `tests.secrets` and `tests.env`.

## A fleet

```yaml
config:
  nats:
    servers: ["tls://nats.example:4222"]
  policy:
    max_lots_per_order: 1
secrets:                       # from Secrets that you made; nothing secret stands in values
  - {config: nats.credentials, secretName: gateway-nats, secretKey: gateway.creds}
  - {config: nats.tls_ca, secretName: gateway-nats, secretKey: ca.crt}
terminals:
  - name: alpha
    requestEndpoint: tcp://10.0.0.5:28282
    tickEndpoint: tcp://10.0.0.5:28283
    secrets:                   # CURVE: both ends know each other, and nobody else reads along
      - {config: terminal.curve_secret_key, secretName: alpha-keys, secretKey: gateway.secret}
      - {config: terminal.curve_server_key, secretName: alpha-keys, secretKey: terminal.public}
    config:
      policy: {trading: true, symbols: [EURUSD]}
  - name: beta
    requestEndpoint: tcp://10.0.0.6:28282
    unencrypted: true          # the existing server: a tunnel or a firewall has to guard it
networkPolicy:
  enabled: true
monitoring:
  podMonitor: {enabled: true}
  prometheusRule: {enabled: true}
  dashboards: {enabled: true}
```

Each terminal gets a Deployment, a ConfigMap and a Service, named `<release>-mt4-gateway-<name>`. A
changed configuration restarts its gateway alone. A gateway that restarts ends the trade on the
channel first, within ten seconds.

* **One gateway serves a terminal.** With `ha.enabled` others wait for its lease. Without, there is one
  pod, and the old one goes before the new one comes. A terminal of dialect *bridge* obeys only the last
  gateway that claimed it.
* **Unknown keys are refused**, also those of `config`, with their path. So are a name or an endpoint
  used twice, two ways to log in, a login in an address, a simulated terminal with an endpoint, a
  terminal that is reached without keys unless `unencrypted` says so, two monitors, and a NetworkPolicy to a host name.
* **No cluster rights.** There is no role, and the pods get no token.
* **Probes ask about the gateway**, not about NATS or the terminal: those being away is an alert, and
  no reason to restart. The startup, liveness and readiness probes can be changed one by one.

## Watch it

`monitoring.dashboards` brings two dashboards, *MT4 gateways* and *MT4 terminal*, and
`monitoring.prometheusRule` the alerts, each with a page in `docs/runbooks/`. Both group by the label
`terminal`, which the monitors of this chart set from the pod.

## What it leaves out

| | Why |
|---|---|
| A role or cluster role | Nothing asks Kubernetes: the lease is kept in NATS. |
| `icon`, `home`, `sources` | The project has no public address yet. |
| Signing, a public registry | A matter of who publishes; `helm package` of this folder is all it takes. |
| A preset of resources | Depends on ticks per second; an example stands at `resources`. |
| Merging over every object | `deploymentOverrides` is for the Deployments; for others use `extraObjects`. |

## Upgrading

Before 1.0 a minor version may rename keys. A renamed key is refused, never ignored.

## Values
"""


def readme() -> str:
    """Write the page."""
    rows = list(described())
    lines = [HEAD, "| Key | Default | Meaning |", "|---|---|---|"]
    lines += [f"| `{path}` | {_default(value)} | {said} |" for path, value, said in rows]
    return "\n".join([*lines, ""])


def described() -> Iterator[tuple[str, Any, str]]:
    """Yield path, default and meaning of every key that values.yaml explains."""
    text = VALUES.read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    said: list[str] = []
    for line in text.splitlines():
        if comment := COMMENT.match(line):
            if comment[2] or said:
                said.append(comment[3])
            continue
        if key := KEY.match(line):
            indent = len(key[1])
            path = [(at, name) for at, name in path if at < indent] + [(indent, key[2])]
            if said:
                yield ".".join(name for _, name in path), _at(defaults, path), " ".join(said)
        said = []


def _at(values: Any, path: list[tuple[int, str]]) -> Any:
    for _, name in path:
        values = values[name]
    return values


def _default(value: Any) -> str:
    return f"`{json.dumps(value)}`".replace("|", "\\|")
