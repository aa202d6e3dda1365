"""What must be true of every release, whatever its values: each function returns what is not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.charts.rendering import Object, called, of_kind, pod_templates

Fault = Iterator[str]

LONGEST_NAME = 63


def faults(objects: list[Object]) -> list[str]:
    """Everything that should be otherwise."""
    return [fault for rule in RULES for fault in rule(objects)]


def names_fit(objects: list[Object]) -> Fault:
    """A name is a label too; those of pods of an Indexed Job have their index behind it."""
    for one in objects:
        indexed = one["spec"].get("completionMode") == "Indexed" if one["kind"] == "Job" else False
        longest = LONGEST_NAME - (4 if indexed else 11 if one["kind"] == "CronJob" else 0)
        if one["kind"] != "PriorityClass" and len(one["metadata"]["name"]) > longest:
            yield f"{called(one)} has {len(one['metadata']['name'])} letters"
    seen = [called(one) for one in objects]
    yield from (f"{name} is there twice" for name in set(seen) if seen.count(name) > 1)


def replicas_are_left_to_autoscalers(objects: list[Object]) -> Fault:
    """A Deployment says how many it has, or an autoscaler does, of one kind and one alone."""
    scaled = [
        one["spec"]["scaleTargetRef"]["name"] for one in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")
    ]
    deployments = {one["metadata"]["name"]: one for one in of_kind(objects, "Deployment")}
    for name, one in deployments.items():
        if ("replicas" in one["spec"]) == (name in scaled):
            yield f"{called(one)}: replicas are set beside an autoscaler, or without one they are not"
    yield from (f"an autoscaler is for {name}, which is not there" for name in set(scaled) - deployments.keys())
    yield from (f"{name} has two autoscalers" for name in set(scaled) if scaled.count(name) > 1)


def autoscalers_go_by_load(objects: list[Object]) -> Fault:
    """By CPU or by calls, never by memory; up at once and down slowly."""
    for one in of_kind(objects, "HorizontalPodAutoscaler"):
        spec = one["spec"]
        if any(metric.get("resource", {}).get("name") == "memory" for metric in spec["metrics"]):
            yield f"{called(one)} goes by memory"
        if (
            spec["behavior"]["scaleUp"]["stabilizationWindowSeconds"]
            >= spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"]
        ):
            yield f"{called(one)} shrinks as fast as it grows"
    for one in of_kind(objects, "ScaledObject"):
        for trigger in one["spec"]["triggers"]:
            query = trigger["metadata"].get("query", "vector(0)")
            if trigger["type"] == "memory" or "vector(0)" not in query or "fallback" in one["spec"]:
                yield f"{called(one)} goes by memory, has a query that may be empty, or falls back"


def pods_are_restricted(objects: list[Object]) -> Fault:
    """Pod Security "restricted", and more: a read-only root, no token, nothing writable but space of the pod's own."""
    for one, template in pod_templates(objects):
        pod = template["spec"]
        wanted: dict[str, object] = {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        if not wanted.items() <= pod["securityContext"].items() or pod.get("automountServiceAccountToken", True):
            yield f"{called(one)} may be root, make any system call, or use the API"
        if any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")) or pod.get("enableServiceLinks", True):
            yield f"{called(one)} is in the host's namespaces, or told of all services"
        for container in pod["containers"] + pod.get("initContainers", []):
            confined = {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            if container["securityContext"] != confined:
                yield f"{called(one)}: {container['name']} is not confined"
        yield from _mounts(one, pod)


def _mounts(one: Object, pod: Mapping[str, Any]) -> Fault:
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    for container in pod["containers"]:
        for mount in container["volumeMounts"]:
            volume = volumes.get(mount["name"], {})
            own = "sizeLimit" in volume.get("emptyDir", {}) or "ephemeral" in volume
            writes_store = mount["name"] == "store" and container["name"] == "indexer"
            if not volume or not (own or mount.get("readOnly") or writes_store):
                yield f"{called(one)}: {mount['name']} is writable and not the pod's own, or no volume"
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        yield from (f"{called(one)}: {name} is mounted nowhere" for name in volumes.keys() - mounted)


def containers_are_complete(objects: list[Object]) -> Fault:
    """Each asks for what it needs, has a bound of memory, is of an image with a version, and is probed if it serves."""
    for one, template in pod_templates(objects):
        for container in template["spec"]["containers"]:
            where, resources = f"{called(one)}: {container['name']}", container["resources"]
            if not {"cpu", "memory"} <= resources["requests"].keys() or "memory" not in resources["limits"]:
                yield f"{where} does not say what it needs"
            if not re.search(r"(:(?!latest$)[\w.-]+|@sha256:[0-9a-f]{64})$", container["image"]):
                yield f"{where} is of no version: {container['image']}"
            probes = {"startupProbe", "livenessProbe", "readinessProbe"}
            if one["kind"] == "Deployment" and not probes <= container.keys():
                yield f"{where} is not probed"
            names = [variable["name"] for variable in container.get("env", [])]
            yield from (f"{where} is told {name} twice" for name in set(names) if names.count(name) > 1)


def secrets_stay_secret(objects: list[Object]) -> Fault:
    """No Secret is made, and none is written into a variable: names of Secrets are all that a release knows."""
    yield from (f"{called(one)} is part of the release" for one in of_kind(objects, "Secret"))
    for one, template in pod_templates(objects):
        for container in template["spec"]["containers"]:
            for variable in container.get("env", []):
                value = variable.get("value", "")
                if re.search(r"://[^/@]*:[^/@$]+@", value) or (
                    re.search(r"PASSWORD|_KEY$", variable["name"]) and "/" not in value and value
                ):
                    yield f"{called(one)}: {variable['name']} holds a secret"


def selectors_match(objects: list[Object]) -> Fault:
    """Whatever selects pods finds some; Deployments and budgets find those of one Deployment, and all have a budget."""
    pods = [(called(one), template["metadata"]["labels"]) for one, template in pod_templates(objects)]
    budgets: list[str] = []
    for one in of_kind(objects, "Deployment", "PodDisruptionBudget", "Service", "NetworkPolicy"):
        selector = one["spec"].get("podSelector", one["spec"].get("selector", {}))
        wanted = selector if one["kind"] == "Service" else selector["matchLabels"]
        found = [name for name, labels in pods if wanted.items() <= labels.items()]
        for_builds = one["kind"] == "NetworkPolicy" and wanted["app.kubernetes.io/component"] == "indexer"
        if not found and not for_builds:
            yield f"{called(one)} selects nothing"
        if one["kind"] in ("Deployment", "PodDisruptionBudget") and len(found) != 1:
            yield f"{called(one)} selects {found}"
        budgets += found if one["kind"] == "PodDisruptionBudget" else []
    for one in of_kind(objects, "Deployment"):
        alone = one["metadata"]["labels"]["app.kubernetes.io/component"] == "redis"
        if budgets.count(called(one)) != (0 if alone else 1):
            yield f"{called(one)} has {budgets.count(called(one))} budgets"
    services = [one["metadata"]["labels"] for one in of_kind(objects, "Service")]
    for one in of_kind(objects, "ServiceMonitor"):
        if sum(one["spec"]["selector"]["matchLabels"].items() <= labels.items() for labels in services) != 1:
            yield f"{called(one)} does not select one Service"


def drains_can_end(objects: list[Object]) -> Fault:
    """A drain takes one replica at a time, and is not held up by pods that are not well anyway."""
    for one in of_kind(objects, "PodDisruptionBudget"):
        if "maxUnavailable" not in one["spec"] or one["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"{called(one)} can hold up a drain for ever"


def rollouts_lose_nothing(objects: list[Object]) -> Fault:
    """Something can be replaced; pods get the time that they take to drain; spreading goes by the rollout."""
    for one in of_kind(objects, "Deployment"):
        if one["metadata"]["labels"]["app.kubernetes.io/component"] == "redis":
            continue
        rollout, pod = one["spec"]["strategy"]["rollingUpdate"], one["spec"]["template"]["spec"]
        if rollout["maxSurge"] == rollout["maxUnavailable"] == 0:
            yield f"{called(one)} can never be replaced"
        told = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
        drained = float(told.get("SIGHTLINE_DRAIN_SECONDS", "5")) + float(told.get("SIGHTLINE_GRACE_SECONDS", "20"))
        if pod["terminationGracePeriodSeconds"] < drained + 5:
            yield f"{called(one)} is killed before it has drained"
        for spread in pod.get("topologySpreadConstraints", []):
            own = spread["labelSelector"]["matchLabels"] == one["spec"]["selector"]["matchLabels"]
            if not own or spread["matchLabelKeys"] != ["pod-template-hash"] or spread["nodeTaintsPolicy"] != "Honor":
                yield f"{called(one)} is spread by the wrong pods or nodes"


def ports_agree(objects: list[Object]) -> Fault:
    """Services, probes, policies and addresses speak of ports that the containers have."""
    pods = []
    for one, template in pod_templates(objects):
        ports = {
            port["name"]: port["containerPort"]
            for container in template["spec"]["containers"]
            for port in container.get("ports", [])
        }
        pods.append((template["metadata"]["labels"], ports))
        for container in template["spec"]["containers"]:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                asked = container.get(probe, {}).get("httpGet", container.get(probe, {}).get("tcpSocket", {}))
                if asked and asked["port"] not in ports:
                    yield f"{called(one)}: the {probe} asks {asked['port']}"
    for one in of_kind(objects, "Service"):
        for labels, ports in pods:
            for port in one["spec"]["ports"]:
                if one["spec"]["selector"].items() <= labels.items() and ports.get(port["targetPort"]) != port["port"]:
                    yield f"{called(one)}: port {port['name']} is none of its pods'"
    for one in of_kind(objects, "NetworkPolicy"):
        wanted = one["spec"]["podSelector"]["matchLabels"]
        named = {port["port"] for rule in one["spec"].get("ingress", []) for port in rule["ports"]}
        for labels, ports in pods:
            if wanted.items() <= labels.items() and not named <= ports.keys() | set(ports.values()):
                yield f"{called(one)} opens ports that are not there: {named - ports.keys()}"


def addresses_are_there(objects: list[Object]) -> Fault:
    """Every address of this release that a process is told is a Service, with that port."""
    services = {
        one["metadata"]["name"]: {port["port"] for port in one["spec"]["ports"]} for one in of_kind(objects, "Service")
    }
    for one, template in pod_templates(objects):
        for variable in template["spec"]["containers"][0].get("env", []):
            if variable["name"] not in OURS or "value" not in variable:
                continue
            found = re.fullmatch(r"(?:dns:///|redis://(?:[^@]*@)?)?([a-z0-9-]+):(\d+)(?:/0)?", variable["value"])
            if found and int(found[2]) not in services.get(found[1], set()):
                yield f"{called(one)}: {variable['name']} is {variable['value']}, which is not there"


OURS = {"SIGHTLINE_ENCODERS", "SIGHTLINE_SEARCHERS", "SIGHTLINE_REDIS_URL", "SIGHTLINE_GATEWAY", "GATEWAY"}


def groups_are_whole(objects: list[Object]) -> Fault:
    """Searchers of each group, from 0 on, in a Deployment of its own; all know how many there are.

    Those that leave come after the others, and know how many there were.
    """
    told = []
    for one in of_kind(objects, "Deployment"):
        if one["metadata"]["labels"]["app.kubernetes.io/component"] == "searcher":
            env = {
                variable["name"]: variable.get("value")
                for variable in one["spec"]["template"]["spec"]["containers"][0]["env"]
            }
            told.append((int(env["SIGHTLINE_GROUP"] or 0), int(env["SIGHTLINE_GROUPS"] or 0)))
            if one["metadata"]["labels"]["sightline.dev/group"] != env["SIGHTLINE_GROUP"]:
                yield f"{called(one)} is labelled as another group"
    staying = min((groups for _, groups in told), default=0)
    expected = [(group, staying if group < staying else len(told)) for group in range(len(told))]
    if sorted(told) != expected or not told:
        yield f"groups are {told}"


def nobody_else_gets_in(objects: list[Object]) -> Fault:
    """Where there are policies, every pod that serves has one, and what is inside is open to this release alone."""
    policies = of_kind(objects, "NetworkPolicy")
    for one, template in pod_templates(objects) if policies else ():
        labels = template["metadata"]["labels"]
        component = labels.get("app.kubernetes.io/component", "")
        own = [p for p in policies if p["spec"]["podSelector"]["matchLabels"].items() <= labels.items()]
        if component != "test" and len(own) != 1:
            yield f"{called(one)} has {len(own)} policies"
        inner = own if component in ("encoder", "searcher", "redis") else []
        rules = [rule for policy in inner for rule in policy["spec"].get("ingress", [])]
        for rule in rules:
            inside = all("podSelector" in peer and len(peer) == 1 for peer in rule.get("from", []))
            health = [port["port"] for port in rule["ports"]] == ["health"]
            if not rule.get("from") or not (inside or health):
                yield f"{called(one)} lets in others"


RULES: tuple[Callable[[list[Object]], Fault], ...] = (
    names_fit,
    replicas_are_left_to_autoscalers,
    autoscalers_go_by_load,
    pods_are_restricted,
    containers_are_complete,
    secrets_stay_secret,
    selectors_match,
    drains_can_end,
    rollouts_lose_nothing,
    ports_agree,
    addresses_are_there,
    groups_are_whole,
    nobody_else_gets_in,
)
