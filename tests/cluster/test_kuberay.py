"""The Kubernetes manifests against the fields of KubeRay 1.7 and of pods that they may use."""

import itertools
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from zsd_ray import RunConfig, load_config

ROOT = Path(__file__).parents[2]

# A table a level: field -> type, [a list of it], {a mapping to it}, a set of allowed values or a
# further table. From the API references of KubeRay (ray.io/v1) and Kubernetes (v1); fields that no
# manifest here needs are left out.
META = {"name": str, "labels": {str: str}, "annotations": {str: str}}
QUANTITIES = {str: str}
ENV_FROM = {"secretRef": {"name": str, "optional": bool}}
EXPRESSION = {
    "key": str,
    "operator": {"In", "NotIn", "Exists", "DoesNotExist"},
    "values": [str],
}
CONTAINER = {
    "name": str,
    "image": str,
    "env": [{"name": str, "value": str}],
    "envFrom": [ENV_FROM],
    "ports": [{"containerPort": int, "name": str}],
    "resources": {"requests": QUANTITIES, "limits": QUANTITIES},
    "lifecycle": {"preStop": {"exec": {"command": [str]}}},
}
POD = {
    "serviceAccountName": str,
    "securityContext": {"runAsNonRoot": bool, "runAsUser": int, "runAsGroup": int, "fsGroup": int},
    "terminationGracePeriodSeconds": int,
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [EXPRESSION]}]
            }
        }
    },
    "tolerations": [
        {
            "key": str,
            "operator": {"Exists", "Equal"},
            "value": str,
            "effect": {"NoSchedule", "PreferNoSchedule", "NoExecute"},
        }
    ],
    "containers": [CONTAINER],
}
TEMPLATE = {"metadata": META, "spec": POD}
CLUSTER = {
    "rayVersion": str,
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": {
        "version": {"v1", "v2"},
        "upscalingMode": {"Default", "Aggressive", "Conservative"},
        "idleTimeoutSeconds": int,
    },
    "authOptions": {"mode": {"disabled", "token"}, "secretName": str},
    "headGroupSpec": {"rayStartParams": {str: str}, "template": TEMPLATE},
    "workerGroupSpecs": [
        {
            "groupName": str,
            "replicas": int,
            "minReplicas": int,
            "maxReplicas": int,
            "idleTimeoutSeconds": int,
            "rayStartParams": {str: str},
            "template": TEMPLATE,
        }
    ],
}
JOB = {
    "entrypoint": str,
    "runtimeEnvYAML": str,
    "submissionMode": {"K8sJobMode", "HTTPMode", "InteractiveMode"},
    "backoffLimit": int,
    "activeDeadlineSeconds": int,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "rayClusterSpec": CLUSTER,
}
KINDS = {
    "ServiceAccount": ("v1", {}),
    "RayCluster": ("ray.io/v1", {"spec": CLUSTER}),
    "RayJob": ("ray.io/v1", {"spec": JOB}),
    "PodMonitor": (
        "monitoring.coreos.com/v1",
        {
            "spec": {
                "selector": {"matchLabels": {str: str}},
                "podMetricsEndpoints": [{"port": str, "interval": str}],
            }
        },
    ),
}


def faults(value: Any, allowed: Any, where: str) -> Iterator[str]:
    """What is unknown or of a wrong type, with its path."""
    if isinstance(allowed, set):
        if value not in allowed:
            yield f"{where}: {value!r}"
    elif isinstance(allowed, type):
        if type(value) is not allowed:  # a bool is no int, and YAML's 1 no text
            yield f"{where}: {value!r} is no {allowed.__name__}"
    elif isinstance(allowed, list):
        if not isinstance(value, list):
            yield f"{where}: no list"
        else:
            for number, item in enumerate(value):
                yield from faults(item, allowed[0], f"{where}[{number}]")
    elif not isinstance(value, dict):
        yield f"{where}: no mapping"
    else:
        for key, item in value.items():
            inner = allowed.get(str, allowed.get(key))
            if inner is None:
                yield f"{where}.{key}: unknown"
            else:
                yield from faults(item, inner, f"{where}.{key}")


def manifest_faults(text: str) -> list[str]:
    found = []
    for tree in yaml.safe_load_all(text):
        version, fields = KINDS[tree["kind"]]
        table = {"apiVersion": {version}, "kind": {tree["kind"]}, "metadata": META, **fields}
        found += faults(tree, table, tree["kind"])
    return found


def read(name: str, kind: str) -> dict:
    text = (ROOT / "cluster" / name).read_text()
    return next(tree for tree in yaml.safe_load_all(text) if tree["kind"] == kind)


@pytest.fixture
def cluster() -> dict:
    return read("kuberay-raycluster.yaml", "RayCluster")["spec"]


@pytest.fixture
def job() -> dict:
    return read("kuberay-rayjob.yaml", "RayJob")["spec"]


MANIFESTS = sorted((ROOT / "cluster").glob("kuberay-*.yaml"))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_fields_are_those_of_the_api(path):
    assert manifest_faults(path.read_text()) == []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("minReplicas: 0", "minReplica: 0", "unknown"),
        ("maxReplicas: 16", 'maxReplicas: "16"', "no int"),
        ('num-cpus: "0"', "num-cpus: 0", "no str"),
        ("version: v2", "version: v3", "v3"),
        ("apiVersion: ray.io/v1", "apiVersion: ray.io/v1alpha1", "v1alpha1"),
    ],
)
def test_the_check_sees_a_mistake(right, wrong, fault):
    text = (ROOT / "cluster/kuberay-raycluster.yaml").read_text()
    assert right in text
    found = manifest_faults(text.replace(right, wrong, 1))
    assert len(found) == 1
    assert fault in found[0]


def test_a_runs_own_cluster_is_the_one_that_stays(cluster, job):
    assert job["rayClusterSpec"] == cluster


def test_versions_are_those_of_the_constraints(cluster):
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"ray=={cluster['rayVersion']}" in pins


def test_the_head_takes_no_model_worker_and_no_spot_node(cluster):
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    [container] = head["template"]["spec"]["containers"]
    assert not any("gpu" in name for name in container["resources"]["limits"])
    rules = head["template"]["spec"]["affinity"]["nodeAffinity"]
    [term] = rules["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert {rule["operator"] for rule in term["matchExpressions"]} == {"NotIn", "DoesNotExist"}


def test_workers_come_and_go_on_spot_nodes_with_gpus(cluster):
    assert cluster["enableInTreeAutoscaling"] is True
    [group] = cluster["workerGroupSpecs"]
    assert group["minReplicas"] == group["replicas"] == 0 < group["maxReplicas"]
    pod = group["template"]["spec"]
    assert {t["key"] for t in pod["tolerations"]} == {"nvidia.com/gpu", "cloud.google.com/gke-spot"}
    [container] = pod["containers"]
    for amounts in container["resources"].values():
        assert amounts["nvidia.com/gpu"] == "1"
    # Each cloud's label for spot nodes is one alternative; the head excludes the same labels.
    head_rules = cluster["headGroupSpec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    assert _keys(pod["affinity"]["nodeAffinity"]) == _keys(head_rules)


def _keys(affinity: dict) -> set[str]:
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return {rule["key"] for term in terms for rule in term["matchExpressions"]}


def test_a_worker_that_is_stopped_drains_within_its_grace(cluster):
    from ray.scripts.scripts import drain_node

    pod = cluster["workerGroupSpecs"][0]["template"]["spec"]
    script = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]
    words = shlex.split(script)
    drain = words[words.index("drain-node") + 1 : words.index("&&")]
    context = drain_node.make_context("drain-node", drain)  # raises where Ray would refuse
    assert context.params["reason"] == "DRAIN_NODE_REASON_PREEMPTION"
    longest = int(words[words.index("timeout") + 1]) + int(words[words.index("sleep") + 1])
    assert longest < pod["terminationGracePeriodSeconds"]


def test_metrics_are_exported_where_they_are_looked_for(cluster):
    monitor = read("kuberay-podmonitor.yaml", "PodMonitor")["spec"]
    [endpoint] = monitor["podMetricsEndpoints"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        exported = group["rayStartParams"]["metrics-export-port"]
        template = group["template"]
        assert template["metadata"]["annotations"]["prometheus.io/port"] == exported
        ports = {port["name"]: port["containerPort"] for port in _only(template)["ports"]}
        assert ports[endpoint["port"]] == int(exported)


def test_pods_have_mlflow_the_role_and_no_key(cluster):
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        container = _only(group["template"])
        names = {entry["name"] for entry in container["env"]}
        assert "MLFLOW_TRACKING_URI" in names
        assert not any("KEY" in name or "TOKEN" in name for name in names)
        assert container["envFrom"] == [
            {"secretRef": {"name": "zsd-ray-secrets", "optional": True}}
        ]
        assert group["template"]["spec"]["serviceAccountName"] == "zsd-ray"
        assert group["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    account = read("kuberay-raycluster.yaml", "ServiceAccount")["metadata"]
    assert account == read("kuberay-rayjob.yaml", "ServiceAccount")["metadata"]
    assert account["name"] == "zsd-ray"


def _only(template: dict) -> dict:
    [container] = template["spec"]["containers"]
    return container


def test_the_job_runs_a_file_and_a_configuration_of_the_image(job):
    words = job["entrypoint"].split()
    script, config = (Path(word).relative_to("/opt/zsd_ray") for word in (words[1], words[3]))
    assert words[0] == "python"
    assert (ROOT / script).is_file()
    settings = [after for word, after in itertools.pairwise(words) if word == "--set"]
    run = load_config(RunConfig, ROOT / config, settings)  # every --set names a key
    assert run.output.path.startswith("s3://")
    assert yaml.safe_load(job["runtimeEnvYAML"]) == {"env_vars": {"HF_HUB_OFFLINE": "1"}}
    assert job["backoffLimit"] > 0  # a lost head is survived by going on
    assert job["shutdownAfterJobFinishes"] is True
