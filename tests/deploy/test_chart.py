"""The chart renders, is valid, means what it says, and refuses what is wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway.config import load
from gateway.policy_settings import Policy
from tests.deploy.chart import (
    CHART,
    KUBERNETES,
    VALUES_FILES,
    Values,
    gateway_toml,
    manifests,
    only,
    pod_specs,
    read_values,
    render,
    validate,
)

pytestmark = pytest.mark.system(
    "python:helm_python", "python:kubernetes_validate", "python:cloudcoil"
)

ALPHA: Values = {
    "name": "alpha",
    "requestEndpoint": "tcp://10.0.0.5:28282",
    "unencrypted": True,
}

examples = pytest.mark.parametrize("path", VALUES_FILES, ids=lambda path: path.stem)


@examples
def test_lint_is_clean(path: Path) -> None:
    """Helm's linter, strict, finds nothing above *info*."""
    import helm_python  # noqa: PLC0415 - of requirements-deploy.lock

    found = helm_python.lint(str(CHART), read_values(path), strict=True)
    # It renders without the operator's CRDs: what must fail then is tested below.
    expected = "has no monitoring.coreos.com/v1"
    worse = [
        one for one in found["messages"] if one["severity"] > 1 and expected not in one["error"]
    ]

    assert [] == worse


@pytest.mark.parametrize("version", KUBERNETES)
@examples
def test_objects_are_valid(path: Path, version: str) -> None:
    """Against Kubernetes' schemas and the operator's models; unknown keys are refused."""
    for manifest in manifests(read_values(path), kube_version=f"v{version}.0"):
        validate(manifest, version)


@examples
def test_gateway_accepts_its_configuration(path: Path, tmp_path: Path) -> None:
    """Each ConfigMap and the variables beside it load, with the files the Secrets would give."""
    values = read_values(path)
    found = manifests(values)
    for deployment in found:
        labels = deployment["metadata"].get("labels", {})
        if deployment["kind"] != "Deployment" or labels["app.kubernetes.io/component"] != "gateway":
            continue
        name = deployment["metadata"]["labels"]["mt4-gateway/terminal"]
        file = tmp_path / f"{name}.toml"
        file.write_text(gateway_toml(found, name), encoding="utf-8")
        (container,) = (
            each
            for each in deployment["spec"]["template"]["spec"]["containers"]
            if each["name"] == "gateway"
        )
        variables = {each["name"]: each.get("value", "secret") for each in container["env"]}
        variables.pop("MT4GW_CONFIG")

        assert name == load(file, variables).terminal.name


@examples
def test_pods_meet_the_restricted_standard(path: Path) -> None:
    """Pod Security Standards, *restricted*; and no pod gets a token or the cluster's variables."""
    for name, spec in pod_specs(manifests(read_values(path))):
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True, name
        assert "RuntimeDefault" == pod["seccompProfile"]["type"], name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        for container in spec["containers"]:
            if container["image"] == "busybox":  # the example's own
                continue
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert ["ALL"] == own["capabilities"]["drop"], name


@examples
def test_chart_asks_for_no_rights(path: Path) -> None:
    """No role of any kind: the lease is in NATS."""
    kinds = {each["kind"] for each in manifests(read_values(path))}

    assert not {kind for kind in kinds if "Role" in kind}


@examples
def test_every_object_has_its_place_and_labels(path: Path) -> None:
    """Names fit, the recommended labels are there, nothing is rendered twice."""
    found = [each for each in manifests(read_values(path)) if each["metadata"].get("labels")]
    identities = [
        (each["kind"], each["metadata"]["namespace"], each["metadata"]["name"]) for each in found
    ]

    assert len(identities) == len(set(identities))
    for each in found:
        assert len(each["metadata"]["name"]) <= 63
        assert {"name", "instance", "version", "managed-by"} <= {
            key.partition("/")[2] for key in each["metadata"]["labels"]
        }


def test_selectors_never_change_with_the_version() -> None:
    """A Deployment's selector is immutable: versions and free labels stay out of it."""
    selector = only(
        manifests(read_values(CHART / "ci/extras-values.yaml")), "Deployment", "mt4-demo"
    )
    keys = set(selector["spec"]["selector"]["matchLabels"])

    assert keys == {
        "app.kubernetes.io/name",
        "app.kubernetes.io/instance",
        "app.kubernetes.io/component",
        "mt4-gateway/terminal",
    }


def test_services_find_their_pods() -> None:
    """Each Service selects the pods of one Deployment, and its ports exist there."""
    found = manifests(read_values(CHART / "ci/bound-values.yaml"))
    service, deployment = only(found, "Service"), only(found, "Deployment")
    pod = deployment["spec"]["template"]
    ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}

    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert {"http", "request", "tick"} == {port["targetPort"] for port in service["spec"]["ports"]}
    assert {"http", "request", "tick"} == ports


def test_one_gateway_never_overlaps_the_next() -> None:
    """Without standby the old pod goes before the new one comes."""
    spec = only(manifests({"terminals": [ALPHA]}), "Deployment")["spec"]

    assert (1, "Recreate") == (spec["replicas"], spec["strategy"]["type"])


def test_standby_is_spread_and_protected() -> None:
    """Several gateways: rolled one by one, spread, kept by a budget."""
    found = manifests({"terminals": [ALPHA], "ha": {"enabled": True, "replicas": 3}})
    deployment = only(found, "Deployment")["spec"]

    assert 3 == deployment["replicas"]
    assert {"maxSurge": 0, "maxUnavailable": 1} == deployment["strategy"]["rollingUpdate"]
    assert deployment["template"]["spec"]["topologySpreadConstraints"]
    assert 1 == only(found, "PodDisruptionBudget")["spec"]["maxUnavailable"]


def test_own_configuration_wins_over_the_common() -> None:
    """A terminal's keys are merged over those for all; the chart's own are last."""
    own = {**ALPHA, "config": {"policy": {"max_lots_per_order": 2.5}, "terminal": {"settle_s": 1}}}
    found = manifests(
        {"terminals": [own], "config": {"policy": {"max_lots_per_order": 1, "trading": True}}}
    )
    toml = tomllib.loads(gateway_toml(found, "alpha"))

    assert {"max_lots_per_order": 2.5, "trading": True} == toml["policy"]
    assert {"name": "alpha", "request_endpoint": ALPHA["requestEndpoint"], "settle_s": 1} == toml[
        "terminal"
    ]


@pytest.mark.parametrize("symbol", ['EUR"USD', "back\\slash", "#US30", "Ä€<&>", "{{ x }}", "a'b"])
def test_strings_survive_the_way_into_the_file(symbol: str) -> None:
    """Quotes, backslashes, braces and letters arrive as they were given."""
    found = manifests({"terminals": [{**ALPHA, "config": {"policy": {"symbols": [symbol]}}}]})

    assert [symbol] == tomllib.loads(gateway_toml(found, "alpha"))["policy"]["symbols"]


def test_limits_of_clients_are_tables_in_the_file() -> None:
    """What a map of maps says, the gateway reads."""
    clients = {"breakout": {"max_open_orders": 5, "magic_numbers": [7]}, "risk": {}}
    own = {**ALPHA, "config": {"policy": {"trading": True, "clients": clients}}}
    policy = tomllib.loads(gateway_toml(manifests({"terminals": [own]}), "alpha"))["policy"]

    assert {"trading": True, "clients": clients} == policy
    assert 5 == Policy.model_validate(policy).clients["breakout"].max_open_orders


def test_changed_configuration_restarts_only_its_gateway() -> None:
    """The checksum on the pods is that of their own terminal's file."""
    beta = {**ALPHA, "name": "beta", "requestEndpoint": "tcp://10.0.0.6:28282"}

    def checksums(limit: float) -> dict[str, str]:
        changed = {**beta, "config": {"policy": {"max_lots_per_order": limit}}}
        return {
            each["metadata"]["name"]: each["spec"]["template"]["metadata"]["annotations"][
                "checksum/config"
            ]
            for each in manifests({"terminals": [ALPHA, changed]})
            if each["kind"] == "Deployment"
        }

    before, after = checksums(1), checksums(2)

    assert before["gw-mt4-gateway-alpha"] == after["gw-mt4-gateway-alpha"]
    assert before["gw-mt4-gateway-beta"] != after["gw-mt4-gateway-beta"]


def test_secrets_stay_out_of_the_objects() -> None:
    """Files are mounted, passwords come by reference; a terminal's own win."""
    found = manifests(read_values(CHART / "ci/fleet-values.yaml"))
    beta = only(found, "Deployment", "gw-mt4-gateway-beta")["spec"]["template"]["spec"]
    (volume,) = (each for each in beta["volumes"] if each["name"] == "nats-credentials")
    variables = {each["name"]: each.get("value") for each in beta["containers"][0]["env"]}

    assert "beta-nats" == volume["secret"]["secretName"]
    assert (
        "/run/secrets/mt4-gateway/nats.credentials/beta.creds"
        == variables["MT4GW_NATS__CREDENTIALS"]
    )


def test_password_comes_by_reference() -> None:
    """The pod names the Secret, the chart never sees the value."""
    found = manifests(read_values(CHART / "ci/password-values.yaml"))
    spec = only(found, "Deployment", "gw-mt4-gateway-demo")["spec"]["template"]["spec"]
    (variable,) = (
        each for each in spec["containers"][0]["env"] if each["name"] == "MT4GW_NATS__PASSWORD"
    )

    assert {"name": "nats-login", "key": "password"} == variable["valueFrom"]["secretKeyRef"]


def test_network_policy_allows_what_is_needed() -> None:
    """In: metrics. Out: DNS, NATS, and each terminal at its own address and ports."""
    found = manifests(read_values(CHART / "ci/network-policy-values.yaml"))
    policy = only(found, "NetworkPolicy", "gw-mt4-gateway-by-address")["spec"]
    ports = [[port["port"] for port in rule["ports"]] for rule in policy["egress"]]
    peers = [rule["to"][0] for rule in policy["egress"][2:4]]

    assert ["Ingress", "Egress"] == policy["policyTypes"]
    assert "http" == policy["ingress"][0]["ports"][0]["port"]
    assert [[53, 53], [4222, 4223], [28282], [28283], [443]] == ports
    assert [{"ipBlock": {"cidr": "10.0.0.5/32"}}] * 2 == peers


def test_front_door_is_reached_by_whom_it_is_for() -> None:
    """Its port is the pod's and the Service's; a NetworkPolicy opens it to named peers only."""
    door = {"config": {"front_door": {"endpoint": "tcp://*:28280", "unencrypted": True}}}
    peers = [{"podSelector": {"matchLabels": {"app": "old-client"}}}]
    shut = manifests({"terminals": [{**ALPHA, **door}], "networkPolicy": {"enabled": True}})
    policy = {"enabled": True, "frontDoorFrom": peers}
    found = manifests({"terminals": [{**ALPHA, **door}], "networkPolicy": policy})
    container = only(found, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    opened = only(found, "NetworkPolicy")["spec"]["ingress"][1]

    assert {"name": "front-door", "containerPort": 28280} in container["ports"]
    assert 28280 in {port["port"] for port in only(found, "Service")["spec"]["ports"]}
    assert ("front-door", peers) == (opened["ports"][0]["port"], opened["from"])
    assert 1 == len(only(shut, "NetworkPolicy")["spec"]["ingress"])


def test_every_pod_goes_where_its_terminal_goes() -> None:
    """Simulator and test pod are bound to the same nodes, and see the same further files."""
    place = {"nodeSelector": {"pool": "trading"}, "tolerations": [{"operator": "Exists"}]}
    more = {
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    }
    found = manifests({"terminals": [{"name": "demo", "simulated": True, **place}], **more})

    for name, spec in pod_specs(found):
        assert place == {key: spec[key] for key in place}, name
    test = only(found, "Pod")["spec"]
    assert "ca" in {volume["name"] for volume in test["volumes"]}
    assert "/ca" in {mount["mountPath"] for mount in test["containers"][0]["volumeMounts"]}


def test_digest_wins_over_the_tag() -> None:
    """What is pinned cannot be moved."""
    digest = "sha256:" + "0" * 64
    found = manifests({"image": {"registry": "r.example", "tag": "1.2.3", "digest": digest}})
    image = only(found, "Deployment", "gw-mt4-gateway-demo")["spec"]["template"]["spec"][
        "containers"
    ][0]["image"]

    assert f"r.example/mt4-gateway@{digest}" == image


def test_openshift_chooses_the_ids() -> None:
    """Where the platform is seen, the fixed ids go and the rest of the restrictions stays."""
    found = manifests(apis=["security.openshift.io/v1"])

    for _, spec in pod_specs(found):
        assert {"runAsNonRoot", "seccompProfile"} == set(spec["securityContext"])


def test_rules_can_be_disabled_labelled_and_linked() -> None:
    """The PrometheusRule is the file of alerts with the operator's wishes."""
    rule = only(manifests(read_values(CHART / "ci/service-monitor-values.yaml")), "PrometheusRule")
    rules = [each for group in rule["spec"]["groups"] for each in group["rules"]]
    ours = [each for each in rules if each["alert"] != "Mt4GatewayQuietDay"]

    assert len(rules) == len(ours) + 1
    assert "Mt4GatewayEventLoopSlow" not in {each["alert"] for each in rules}
    assert {"desk7"} == {each["labels"]["team"] for each in ours}
    assert all(
        each["annotations"]["runbook_url"].startswith(
            "https://git.example/mt4-gateway/blob/main/docs"
        )
        for each in ours
    )


def test_dashboards_reach_the_sidecar() -> None:
    """One ConfigMap each, with the label, the folder and the whole file."""
    found = manifests(read_values(CHART / "ci/service-monitor-values.yaml"))
    shown = {
        name: text
        for each in found
        if each["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
        for name, text in each["data"].items()
    }
    files = {
        path.name: path.read_text(encoding="utf-8")
        for path in (CHART / "files/dashboards").glob("*.json")
    }

    assert files
    assert files == shown


def test_operator_missing_is_skipped_or_refused() -> None:
    """Without the CRDs: nothing rendered, or a message, as the operator chose."""
    wished = {"podMonitor": {"enabled": True}}
    skipped = manifests({"monitoring": {"renderMode": "skipIfMissing", **wished}}, apis=[])

    assert not [each for each in skipped if "monitoring.coreos.com" in each["apiVersion"]]
    with pytest.raises(Exception, match=r"has no monitoring.coreos.com/v1 PodMonitor"):
        render({"monitoring": {"renderMode": "failIfMissing", **wished}}, apis=[])


def test_notes_say_what_is_simulated_and_what_trades() -> None:
    """Whoever installs sees at once which terminals can lose money."""
    trading = {**ALPHA, "config": {"policy": {"trading": True}}}
    notes = render({"terminals": [trading, {"name": "demo", "simulated": True}]})["NOTES.txt"]

    assert "alpha: tcp://10.0.0.5:28282, trading ON" in notes
    assert "demo: a SIMULATED terminal, trading off" in notes


@pytest.mark.parametrize(("value", "said"), [("1", "ON"), ("false", "off")])
def test_notes_know_that_a_variable_wins(value: str, said: str) -> None:
    """The gateway takes a variable before its file, so the notes do."""
    variable = {"name": "MT4GW_POLICY__TRADING", "value": value}
    own = {**ALPHA, "config": {"policy": {"trading": value == "false"}}}
    notes = render({"terminals": [own], "extraEnv": [variable]})["NOTES.txt"]

    assert f"trading {said}" in notes


BAD: dict[str, tuple[Values, str]] = {
    "unknown key": ({"replicaCount": 2}, "replicaCount"),
    "unknown key inside": ({"image": {"repo": "x"}}, "/image.*repo"),
    "unknown gateway key": ({"config": {"nats": {"server": "x"}}}, "/config/nats.*server"),
    "unknown gateway section": ({"config": {"natz": {}}}, "/config.*natz"),
    "secret in values": ({"config": {"nats": {"password": "x"}}}, "/config/nats.*password"),
    "wrong type": ({"config": {"policy": {"trading": "yes"}}}, "/config/policy/trading"),
    "out of range": (
        {"config": {"policy": {"max_lots_per_order": 0}}},
        "/config/policy/max_lots_per_order",
    ),
    "no servers": ({"config": {"nats": {"servers": []}}}, "/config/nats/servers"),
    "no terminals": ({"terminals": []}, "/terminals"),
    "bad name": ({"terminals": [{**ALPHA, "name": "Alpha"}]}, "/terminals/0/name"),
    "name too long": ({"terminals": [{**ALPHA, "name": "a" * 33}]}, "/terminals/0/name"),
    "bad endpoint": (
        {"terminals": [{"name": "a", "requestEndpoint": "10.0.0.5:1"}]},
        "/terminals/0/requestEndpoint",
    ),
    "unknown key of a terminal": ({"terminals": [{**ALPHA, "lots": 1}]}, "/terminals/0.*lots"),
    "no endpoint": ({"terminals": [{"name": "a"}]}, r"terminals\[0\] \(a\): set requestEndpoint"),
    "no keys": (
        {"terminals": [{**ALPHA, "unencrypted": False}]},
        "nothing encrypts the way to tcp://10.0.0.5:28282",
    ),
    "same name": ({"terminals": [ALPHA, ALPHA]}, "name alpha is used twice"),
    "same terminal": (
        {"terminals": [ALPHA, {**ALPHA, "name": "b"}]},
        "Two gateways must not share a terminal",
    ),
    "unknown secret": (
        {"secrets": [{"config": "nats.pasword", "secretName": "a", "secretKey": "b"}]},
        "/secrets/0/config",
    ),
    "two logins": (
        {
            "secrets": [
                {"config": key, "secretName": "a", "secretKey": "b"}
                for key in ("nats.credentials", "nats.token")
            ]
        },
        "one way to log in",
    ),
    "name of another's simulator": (
        {"terminals": [{"name": "a", "simulated": True}, {**ALPHA, "name": "a-sim"}]},
        "the name a-sim is used twice",
    ),
    "simulated, and is not": ({"terminals": [{**ALPHA, "simulated": True}]}, "exclude each other"),
    "login in an address": (
        {"config": {"nats": {"servers": ["nats://me:secret@nats:4222"]}}},
        "servers holds a login",
    ),
    "two logins from files": (
        {
            "config": {"nats": {"user": "u"}},
            "secrets": [
                {"config": key, "secretName": "a", "secretKey": "b"}
                for key in ("nats.password_file", "nats.token_file")
            ],
        },
        "one way to log in",
    ),
    "password file without user": (
        {"secrets": [{"config": "nats.password_file", "secretName": "a", "secretKey": "b"}]},
        "nats.user and the secret nats.password .* go together",
    ),
    "password without user": (
        {"secrets": [{"config": "nats.password", "secretName": "a", "secretKey": "b"}]},
        "nats.user and the secret nats.password .* go together",
    ),
    "certificate without key": (
        {"secrets": [{"config": "nats.tls_certificate", "secretName": "a", "secretKey": "b"}]},
        "go together",
    ),
    "one port for two": (
        {"terminals": [{**ALPHA, "requestEndpoint": "tcp://*:9464"}]},
        "the port 9464 is used twice",
    ),
    "both monitors": (
        {"monitoring": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}},
        "counted twice",
    ),
    "both budgets": ({"podDisruptionBudget": {"minAvailable": 1}}, "Set the other to"),
    "policy to a host name": (
        {
            "networkPolicy": {"enabled": True},
            "terminals": [{**ALPHA, "requestEndpoint": "tcp://mt4.example:1"}],
        },
        "Set networkCidr",
    ),
    "policy to ticks at a host name": (
        {
            "networkPolicy": {"enabled": True},
            "terminals": [{**ALPHA, "tickEndpoint": "tcp://ticks-sim:1"}],
        },
        "Set networkCidr",
    ),
    "policy without the port of NATS": (
        {
            "networkPolicy": {"enabled": True},
            "config": {"nats": {"servers": ["nats://nats", "tls://nats:14222"]}},
        },
        "names port 14222, and networkPolicy.natsPorts does not",
    ),
    "node's port twice": (
        {
            "hostNetwork": True,
            "terminals": [ALPHA, {**ALPHA, "name": "b", "requestEndpoint": "tcp://10.0.0.6:1"}],
        },
        "share httpPort",
    ),
    "one gateway on standby": ({"ha": {"enabled": True, "replicas": 1}}, "/ha/replicas"),
    "grace too short": ({"terminationGracePeriodSeconds": 5}, "/terminationGracePeriodSeconds"),
    "line break in a name": ({"image": {"tag": "a\nb"}}, "/image/tag"),
    "long full name": ({"fullnameOverride": "a" * 27}, "/fullnameOverride"),
}


@pytest.mark.parametrize(("values", "message"), BAD.values(), ids=BAD)
def test_bad_values_are_refused_with_their_path(values: Values, message: str) -> None:
    """A wrong value never becomes a running gateway; the message says where it stands."""
    with pytest.raises(Exception, match=f"(?s){message}") as refused:
        render(values)

    assert "Helm" in type(refused.value).__name__


@pytest.mark.parametrize("release", ["7desk", "desk.eu", "d" * 26 + ".x"])
def test_release_whose_name_fits_no_service(release: str) -> None:
    """Helm takes names that Kubernetes refuses for a Service: the chart says what to do."""
    with_own = manifests({"fullnameOverride": "desk"}, name=release)

    assert only(with_own, "Service", "desk-demo")
    if release.startswith("d" * 26):  # cut before the dot
        assert only(manifests(name=release), "Service", f"{'d' * 26}-demo")
        return
    with pytest.raises(Exception, match="set fullnameOverride"):
        render(name=release)


def test_names_of_dashboards_are_no_terminals() -> None:
    """A terminal may be called as a dashboard's file; both get their ConfigMap."""
    named = [
        {"name": "terminal", "simulated": True},
        {**ALPHA, "name": "overview"},
    ]
    found = manifests({"terminals": named, "monitoring": {"dashboards": {"enabled": True}}})
    maps = [each["metadata"]["name"] for each in found if each["kind"] == "ConfigMap"]

    assert 4 == len(maps) == len(set(maps))


def test_password_file_goes_with_its_user() -> None:
    """The way that is read again at each reconnect is no less allowed than the variable."""
    secret = {"config": "nats.password_file", "secretName": "a", "secretKey": "password"}
    found = manifests({"config": {"nats": {"user": "u"}}, "secrets": [secret]})
    spec = only(found, "Deployment", "gw-mt4-gateway-demo")["spec"]["template"]["spec"]
    variables = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}

    assert variables["MT4GW_NATS__PASSWORD_FILE"].endswith("/nats.password_file/password")


def test_package_can_be_made(tmp_path: Path) -> None:
    """What is published holds the chart and not its test values."""
    import tarfile  # noqa: PLC0415 - for this test alone

    import helm_python  # noqa: PLC0415 - of requirements-deploy.lock

    made: Any = helm_python.package(str(CHART), destination=str(tmp_path))
    (archive,) = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as content:
        names = {name.partition("/")[2] for name in content.getnames()}

    assert made
    assert {"Chart.yaml", "values.schema.json", "README.md", "files/alerts.yaml"} <= names
    assert not {name for name in names if name.startswith("ci/")}
