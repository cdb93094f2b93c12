"""cluster/kubernetes and cluster/compose, which no engine runs here: their files against the published schemas."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import recipes
from tests.stores.servers import free_ports

pytestmark = pytest.mark.manifests

KUBERNETES, COMPOSE = recipes.RECIPES / "kubernetes", recipes.RECIPES / "compose"
RELEASE = "1.30"
"""Of Kubernetes: an old one that is still about, so that nothing newer is needed."""


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture
def cluster() -> Any:
    return read(KUBERNETES / "cluster.yaml")


def check_kubernetes(manifest: Any) -> None:
    import kubernetes_validate

    kubernetes_validate.validate(manifest, RELEASE, strict=True)


def check_with_schema(instance: Path, *schema: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "check_jsonschema", *schema, str(instance)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def resource_schema() -> Any:
    """Of a DaskCluster, as the operator's package installs it."""
    import importlib.resources

    package = importlib.resources.files("dask_kubernetes")
    definition = package / "operator/deployment/helm/dask-kubernetes-operator/crds/daskcluster.yaml"
    (version,) = yaml.safe_load(definition.read_text(encoding="utf-8"))["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def closed(schema: Any) -> Any:
    """The same, with unknown names refused: Kubernetes drops them without a word, and a misspelt probe is none."""
    if not isinstance(schema, dict):
        return schema
    made = {
        name: [closed(each) for each in part] if isinstance(part, list) else closed(part)
        for name, part in schema.items()
    }
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        made["additionalProperties"] = schema.get("x-kubernetes-preserve-unknown-fields", False)
    return made


def test_the_cluster_is_what_the_operator_takes(cluster, tmp_path):
    schema = resource_schema()
    # What every resource has, and the definition leaves out.
    schema["properties"] |= {"apiVersion": {"const": "kubernetes.dask.org/v1"}, "kind": {"const": "DaskCluster"}}
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    (tmp_path / "schema.json").write_text(json.dumps(closed(schema)))
    done = check_with_schema(KUBERNETES / "cluster.yaml", "--schemafile", str(tmp_path / "schema.json"))
    assert done.returncode == 0, done.stdout

    cluster["spec"]["worker"]["spec"]["containers"][0]["readynessProbe"] = {}
    (tmp_path / "misspelt.yaml").write_text(yaml.safe_dump(cluster))
    done = check_with_schema(tmp_path / "misspelt.yaml", "--schemafile", str(tmp_path / "schema.json"))
    assert done.returncode == 1
    assert "readynessProbe" in done.stdout


@pytest.mark.parametrize("part", ["scheduler", "worker"])
def test_what_the_operator_makes_of_it_is_what_kubernetes_takes(cluster, part):
    from dask_kubernetes.operator.controller import controller

    spec = cluster["spec"][part]
    if part == "scheduler":
        deployment = controller.build_scheduler_deployment_spec("daskaug", spec["spec"], {}, {})
        check_kubernetes(controller.build_scheduler_service_spec("daskaug", spec["service"], {}, {}))
    else:
        deployment = controller.build_worker_deployment_spec("w", "default", "daskaug", "1", spec["spec"], {}, {})
    check_kubernetes(deployment)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert container["readinessProbe"]["httpGet"]["port"] in {port["name"] for port in container["ports"]}
    assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
    assert "daskaug.preload" in container["args"]
    assert not any("tcp://" in word for word in container["args"])


def test_the_service_leads_to_the_scheduler_by_the_name_that_workers_call(cluster):
    from dask_kubernetes.constants import SCHEDULER_NAME_TEMPLATE

    name = SCHEDULER_NAME_TEMPLATE.format(cluster_name=cluster["metadata"]["name"])
    assert f"tls://{name}:8786" in cluster["spec"]["worker"]["spec"]["containers"][0]["args"]
    scheduler = cluster["spec"]["scheduler"]
    ports = {port["name"]: port["containerPort"] for port in scheduler["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"]: port["port"] for port in scheduler["service"]["ports"]} == ports


def commands(way: str) -> list[list[str]]:
    """Of scheduler and worker, as they stand in the file."""
    if way == "compose":
        services = read(COMPOSE / "compose.yaml")["services"]
        return [services[part]["command"] for part in ("scheduler", "worker")]
    spec = read(KUBERNETES / "cluster.yaml")["spec"]
    return [spec[part]["spec"]["containers"][0]["args"] for part in ("scheduler", "worker")]


@pytest.mark.parametrize("way", ["kubernetes", "compose"])
def test_the_commands_start_a_cluster_whose_probes_answer(way, certificates, source, tmp_path):
    """Without containers: on this machine, at other addresses."""
    port, health, worker_health = free_ports(3)
    here = {
        ":8787": f"127.0.0.1:{health}",
        ":8788": f"127.0.0.1:{worker_health}",
        "tls://daskaug-scheduler:8786": f"tls://127.0.0.1:{port}",
        "tls://scheduler:8786": f"tls://127.0.0.1:{port}",
        "$(DASK_WORKER_NAME)": "pod",
        "7GiB": "2GiB",
    }
    scheduler, worker = ([here.get(word, word) for word in words] for words in commands(way))
    env = recipes.environment(DASK_CONFIG=certificates, DASK_TEMPORARY_DIRECTORY=tmp_path)
    target = tmp_path / "y.zarr"
    with (
        recipes.running([*scheduler, "--host", "127.0.0.1", "--port", port], tmp_path / "scheduler.log", env) as first,
        recipes.running([*worker, "--host", "127.0.0.1"], tmp_path / "worker.log", env) as second,
    ):
        first.until_it_says("Scheduler at:")
        second.until_it_says("Registered to:")
        for probed in [health, worker_health] if way == "kubernetes" else [health]:
            with urllib.request.urlopen(f"http://127.0.0.1:{probed}/health", timeout=20) as answer:
                assert answer.status == 200
        connect = [sys.executable, recipes.RECIPES / "connect.py", source, target, *recipes.options()]
        recipes.run(connect, tmp_path / "log", env | {"DASK_SCHEDULER_ADDRESS": f"tls://127.0.0.1:{port}"})
    assert recipes.outcome(target) == recipes.expected(source)


def test_the_network_policy():
    check_kubernetes(read(KUBERNETES / "network.yaml"))


def test_the_secret_has_the_files_that_the_configuration_names(tmp_path):
    made = recipes.certificates(tmp_path / "made", "--seen-at", "/certificates")
    page = (KUBERNETES / "README.md").read_text(encoding="utf-8")
    given = set(re.findall(r"--from-file=certificates/(\S+)", page))
    named = set(re.findall(r"/certificates/(\S+)", (made / "dask.yaml").read_text()))
    assert named - given == {"client.pem", "client-key.pem"}
    assert given - named == {"dask.yaml"}
    assert given <= {path.name for path in made.iterdir()}


def test_the_compose_file():
    done = check_with_schema(COMPOSE / "compose.yaml", "--builtin-schema", "vendor.compose-spec")
    assert done.returncode == 0, done.stdout
    services = read(COMPOSE / "compose.yaml")["services"]
    assert set(services) == {"scheduler", "worker", "jupyter"}
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert service["user"] == "1000:1000"
        assert service["environment"]["DASK_CONFIG"] == "/certificates/dask.yaml"
        build = service.get("build")
        assert build is None or (COMPOSE / build["context"] / build["dockerfile"]).is_file()


def test_the_dockerfile():
    dockerfile = KUBERNETES / "Dockerfile"
    words = [recipes.program("hadolint"), "--no-color", "--failure-threshold", "style", str(dockerfile)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    instructions = [line.split() for line in dockerfile.read_text(encoding="utf-8").splitlines() if line[:1].isupper()]
    final = instructions[max(i for i, words in enumerate(instructions) if words[0] == "FROM") :]
    assert ["USER", "1000:1000"] in final


def test_the_build_sees_what_the_package_is_made_from_and_no_certificates():
    let_in = {
        line[1:] for line in (KUBERNETES / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }
    project = tomllib.loads((recipes.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert let_in == {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"], *wheel}
