"""The files in export/deploy: valid for Kubernetes and Docker Compose, and as the server is."""

import json
from pathlib import Path

import pytest
import yaml
from coda_keras_export import serve

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "export/deploy").glob("kubernetes*.yaml"))


def documents(path):
    return list(yaml.safe_load_all(path.read_text("utf-8")))


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_kubernetes_accepts_the_file(path):
    kubernetes = pytest.importorskip("kubernetes_validate")
    for document in documents(path):
        kubernetes.validate(document, kubernetes.latest_version(), strict=True)


def test_compose_accepts_the_file():
    compose = pytest.importorskip("compose_pydantic")
    (described,) = documents(ROOT / "export/deploy/compose.yaml")
    assert set(compose.ComposeSpecification(**described).services) == {"serving", "unbatched"}
    described["services"]["serving"]["memory"] = "4g"
    with pytest.raises(ValueError, match=r"services\.serving\.memory"):
        compose.ComposeSpecification(**described)


@pytest.fixture
def serving():
    """What is served by Kubernetes, by the kinds of the objects."""
    return {one["kind"]: one for one in documents(ROOT / "export/deploy/kubernetes.yaml")}


def test_the_server_is_started_as_it_can_be(serving, monkeypatch):
    (container,) = serving["Deployment"]["spec"]["template"]["spec"]["containers"]
    command, name, *flags = container["args"]
    assert (command, name) == ("coda-keras", "serve")
    args = serve._parse(flags, None)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (args.port, args.metrics_port) == (ports["grpc"], ports["metrics"])
    annotations = serving["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["metrics"])


def test_a_pod_is_ready_by_the_state_of_its_model(serving):
    (container,) = serving["Deployment"]["spec"]["template"]["spec"]["containers"]
    for name in ("startupProbe", "readinessProbe"):
        assert container[name]["grpc"] == {"port": 8500, "service": "coda"}


def test_memory_is_what_was_measured_and_some_more(serving):
    (container,) = serving["Deployment"]["spec"]["template"]["spec"]["containers"]
    resources = container["resources"]
    mib = {kind: 1024 * int(resources[kind]["memory"].removesuffix("Gi")) for kind in resources}
    used = [
        peak
        for name in ("load", "100000", "publish")
        for row in json.loads(
            (ROOT / f"benchmarks/results/serving-{name}.json").read_text("utf-8")
        )["results"]
        for peak in row["memory_mib"]
    ]
    assert max(used) <= mib["requests"] and 1.5 * max(used) <= mib["limits"]


def test_the_autoscaler_asks_for_a_metric_of_the_server(serving):
    from coda_keras_export.server.metrics import Metrics
    from prometheus_client import generate_latest

    metrics, (asked,) = Metrics(), serving["HorizontalPodAutoscaler"]["spec"]["metrics"]
    metrics.watch(lambda: 7)
    lines = generate_latest(metrics._registry).decode().splitlines()
    assert f"{asked['pods']['metric']['name']} 7.0" in lines
