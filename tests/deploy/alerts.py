"""The alerts by name."""

from typing import Any

from tests.deploy.chart import CHART, read_values

FILE = CHART / "files/alerts.yaml"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in read_values(FILE)["groups"] for rule in group["rules"]
}
