"""What values make of a release, one by one."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from benchmarks.charts.rendering import CHART, Object
from tests.chart.conftest import Render


def env(one: Object) -> dict[str, str]:
    """The variables of a Deployment's container that have a value."""
    (container,) = one["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}


def test_settings_pass_through_unrenamed(rendered: Render) -> None:
    """A setting becomes a variable of its own name: numbers in full, text as it is."""
    settings = {"cache_bytes": 134217728, "poll_seconds": 0.25, "log_level": "DEBUG"}
    told = env(rendered(gateway={"settings": settings})["Deployment/sightline-gateway"])
    assert told["SIGHTLINE_CACHE_BYTES"] == "134217728"
    assert told["SIGHTLINE_POLL_SECONDS"] == "0.25"
    assert told["SIGHTLINE_LOG_LEVEL"] == "DEBUG"


def test_who_goes_serves_on_while_names_are_old(rendered: Render) -> None:
    """Every process drains for longer than a cluster's DNS goes on naming it, 30 s, unless values say otherwise; it is
    not killed before it has."""
    objects = rendered(gateway={"settings": {"drain_seconds": 7.5}})
    for name in ("gateway", "web", "encoder-default", "searcher-0"):
        one = objects[f"Deployment/sightline-{name}"]
        drain = float(env(one)["SIGHTLINE_DRAIN_SECONDS"])
        assert drain == (7.5 if name == "gateway" else 35)
        assert one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= drain + 30


def test_a_release_is_named_once(rendered: Render) -> None:
    """A release whose name has the chart's in it is not called by it twice."""
    assert "Deployment/sightline-gateway" in rendered("sightline")
    assert "Deployment/shop-sightline-gateway" in rendered("shop")
    assert "Deployment/lights-gateway" in rendered("shop", fullnameOverride="lights")


def test_pools_take_from_the_block_what_they_do_not_say(rendered: Render) -> None:
    """A pool lays its own values over those of all encoders, false and 0 among them; without pools there is one."""
    block = {"settings": {"threads": 2}, "autoscaling": {"enabled": True, "signal": "cpu"}, "replicas": 3}
    pools = {"fast": {"settings": {"max_text_tokens": 64}}, "fixed": {"autoscaling": {"enabled": False}}}
    objects = rendered(encoder={**block, "pools": pools})
    fast, fixed = objects["Deployment/sightline-encoder-fast"], objects["Deployment/sightline-encoder-fixed"]
    assert env(fast).items() >= {"SIGHTLINE_THREADS": "2", "SIGHTLINE_MAX_TEXT_TOKENS": "64"}.items()
    assert "replicas" not in fast["spec"]
    assert fixed["spec"]["replicas"] == 3
    assert "HorizontalPodAutoscaler/sightline-encoder-fixed" not in objects
    assert "Deployment/sightline-encoder-default" in rendered()


def test_where_pods_run_is_said_as_a_whole(rendered: Render) -> None:
    """A workload, or a pool, that says which nodes are its own is bound to no others; an empty map is all nodes."""
    everywhere = {"nodeSelector": {"pool": "cpu"}, "affinity": {"nodeAffinity": {}}, "labels": {"team": "search"}}
    own = {"nodeSelector": {"gpu": "a100"}, "affinity": {"podAffinity": {}}, "labels": {"tier": "model"}}
    encoder = {"pods": own, "pools": {"a100": {}, "any": {"pods": {"nodeSelector": {}}}}}
    objects = rendered(pods=everywhere, encoder=encoder)

    def placed(name: str) -> tuple[Any, Any]:
        pod = objects[f"Deployment/sightline-{name}"]["spec"]["template"]["spec"]
        return pod.get("nodeSelector"), pod["affinity"]

    assert placed("gateway") == (everywhere["nodeSelector"], everywhere["affinity"])
    assert placed("encoder-a100") == (own["nodeSelector"], own["affinity"])
    assert placed("encoder-any") == (None, own["affinity"])
    labels = objects["Deployment/sightline-encoder-a100"]["spec"]["template"]["metadata"]["labels"]
    assert labels.items() >= {"team": "search", "tier": "model"}.items()


def test_idle_nodes_may_be_taken_away(rendered: Render) -> None:
    """No pod that serves keeps its node for what lies in its volumes, unless values say so."""
    name = "cluster-autoscaler.kubernetes.io/safe-to-evict"
    objects = rendered(searcher={"pods": {"annotations": {name: "false"}}})
    said = {
        one: made["spec"]["template"]["metadata"]["annotations"][name]
        for one, made in objects.items()
        if one.startswith("Deployment/")
    }
    assert said.pop("Deployment/sightline-searcher-0") == "false"
    assert set(said.values()) == {"true"}
    assert "Deployment/sightline-redis" in said


def test_originals_are_looked_for_where_the_store_is(rendered: Render) -> None:
    """The page that shows originals in a bucket is told the bucket's address, with keys or by a role."""
    store = {"url": "s3://bucket/index", "env": {"AWS_ENDPOINT_URL": "http://store:7070"}}
    web = {"settings": {"originals": "s3://bucket/pictures"}}
    for given, told in ((web, True), ({**web, "originalsSecret": "keys"}, True), ({}, False)):
        page = env(rendered(store=store, web=given)["Deployment/sightline-web"])
        assert ("AWS_ENDPOINT_URL" in page) == told


def test_an_ingress_may_have_a_certificate_of_its_own(rendered: Render) -> None:
    """The gateways' Ingress shows the page's certificate, or its own where that is named."""
    hosts = {"web": {"host": "a.example"}, "grpc": {"host": "b.example"}}

    def shown(**ingress: Any) -> list[str]:
        objects = rendered(expose={**hosts, "ingress": {"enabled": True, **ingress}})
        made = [objects[f"Ingress/sightline-{name}"]["spec"]["tls"] for name in ("web", "gateway")]
        return [one["secretName"] for (one,) in made]

    assert shown(tlsSecret="both") == ["both", "both"]
    assert shown(tlsSecret="page", grpcTlsSecret="calls") == ["page", "calls"]


def test_images(rendered: Render) -> None:
    """An image is the registry's, by service and version; a workload may have its own, by digest too."""

    def image(service: str, **values: Any) -> str:
        (container,) = rendered(**values)[f"Deployment/sightline-{service}"]["spec"]["template"]["spec"]["containers"]
        return str(container["image"])

    assert image("gateway") == "sightline-gateway:0.1.0"
    of_team = {"registry": "registry.example.com/team", "tag": "2.0"}
    assert image("web", image=of_team) == "registry.example.com/team/sightline-web:2.0"
    digest = f"sha256:{'0' * 64}"
    own = {"repository": "lights", "digest": digest}
    assert image("gateway", image=of_team, gateway={"image": own}) == f"registry.example.com/team/lights@{digest}"
    cuda = {"pools": {"t4": {"image": {"tag": "2.0-cuda"}}}}
    assert image("encoder-t4", image=of_team, encoder=cuda).endswith("/sightline-encoder:2.0-cuda")


def test_keda_and_hpa_exclude_each_other(rendered: Render) -> None:
    """There is one kind of autoscaler in a release."""
    workloads = ("gateway", "web", "encoder", "searcher")
    scaled: dict[str, Any] = {name: {"autoscaling": {"enabled": True}} for name in workloads}
    for engine, kind, other in (
        ("hpa", "HorizontalPodAutoscaler", "ScaledObject"),
        ("keda", "ScaledObject", "HorizontalPodAutoscaler"),
    ):
        kinds = [name.partition("/")[0] for name in rendered(autoscaling={"engine": engine}, **scaled)]
        assert (kinds.count(kind), kinds.count(other)) == (4, 0)


def test_encoders_scale_by_their_calls(rendered: Render) -> None:
    """By calls in work and by their wait, from metrics that the rules of the adapter make; by CPU where it is said."""
    adapter = yaml.safe_load((CHART / "adapter" / "values.yaml").read_text())["rules"]["custom"]
    made = {rule["name"]["as"] for rule in adapter}

    def metrics(**autoscaling: Any) -> list[Any]:
        objects = rendered(encoder={"autoscaling": {"enabled": True, **autoscaling}})
        return list(objects["HorizontalPodAutoscaler/sightline-encoder-default"]["spec"]["metrics"])

    assert {metric["pods"]["metric"]["name"] for metric in metrics()} == made
    assert [metric["resource"]["name"] for metric in metrics(signal="cpu")] == ["cpu"]


def test_autoscalers_ask_for_metrics_that_are_exported(rendered: Render) -> None:
    """Every metric of ours that the adapter or KEDA asks Prometheus for is one that processes have."""
    from services.runtime.metrics import queue_seconds, rpc_seconds  # noqa: PLC0415 - registers its metrics

    exported = {f"{one._name}_{part}" for one in (queue_seconds, rpc_seconds) for part in ("sum", "count", "bucket")}
    keda = rendered(encoder={"autoscaling": {"enabled": True}}, autoscaling={"engine": "keda"})
    asked = (CHART / "adapter" / "values.yaml").read_text() + str(keda["ScaledObject/sightline-encoder-default"])
    named = set(re.findall(r"\bsightline_\w+_(?:sum|count|bucket|total)\b", asked))
    assert named
    assert named <= exported


BUILD = {"source": "s3://bucket/photos.parquet"}
BACK = {"back": ["rollback", "--collection", "photos"]}


def jobs(rendered: Render, **values: Any) -> dict[str, Object]:
    """The Jobs of a release, by name."""
    return {name: one for name, one in rendered(**values).items() if name.startswith("Job/")}


def build(**changed: Any) -> dict[str, Any]:
    return {"indexer": {"builds": {"photos": {**BUILD, **changed}}}}


def test_a_build_is_made_once(rendered: Render) -> None:
    """The Jobs of a build keep their names whatever else changes, and get others where it makes something else."""
    names = jobs(rendered, **build()).keys()
    assert len(names) == 2
    assert jobs(rendered, image={"tag": "9.9"}, gateway={"replicas": 5}, **build()).keys() == names
    changes: list[dict[str, Any]] = [
        {"run": "2"},
        {"source": "s3://bucket/other"},
        {"options": ["--scope", "emoji"]},
        {"shards": 5},
    ]
    for change in changes:
        assert not jobs(rendered, **build(**change)).keys() & names


def test_a_build_can_be_published_later(rendered: Render) -> None:
    """Built alone, a build keeps its work folder; where it is to be published later, that Job alone is new, and knows
    the folder."""
    alone, both = jobs(rendered, **build(publish=False)), jobs(rendered, **build())
    ((name, building),) = alone.items()
    assert both[name] == building
    (publishing,) = (one for other, one in both.items() if other != name)
    told, asked = (one["spec"]["template"]["spec"]["containers"][0]["args"] for one in (building, publishing))
    assert "--keep-work" in told
    assert told[told.index("--work") + 1] == asked[asked.index("--work") + 1]


def test_a_build_has_room_for_its_shards(rendered: Render) -> None:
    """What a build writes before it is in the bucket has the size that is said, and is asked for on the node's disk, or
    of a storage class; a Job that publishes or rolls back needs none of it."""

    def room(**scratch: str) -> list[tuple[Any, Any]]:
        made = jobs(rendered, indexer={"builds": {"photos": BUILD}, "scratch": scratch, "commands": BACK})
        pods = [one["spec"]["template"]["spec"] for one in made.values()]
        return [(pod["volumes"][0], pod["containers"][0]["resources"]["requests"]) for pod in pods]

    (volume, asked), *others = room(size="50Gi")
    assert (volume, asked["ephemeral-storage"]) == ({"name": "tmp", "emptyDir": {"sizeLimit": "50Gi"}}, "50Gi")
    little = [(other["emptyDir"]["sizeLimit"], needed["ephemeral-storage"]) for other, needed in others]
    assert little == [("256Mi", "256Mi")] * 2
    (volume, asked), *_ = room(size="50Gi", storageClassName="fast")
    assert volume["ephemeral"]["volumeClaimTemplate"]["spec"]["storageClassName"] == "fast"
    assert "ephemeral-storage" not in asked


def test_a_build_by_several_pods_is_indexed(rendered: Render) -> None:
    """Each pod is told its share, a publisher waits for all of them in the same work folder, and none is a hook."""
    building, publishing = jobs(rendered, **build(parts=8)).values()
    assert (building["spec"]["completionMode"], building["spec"]["completions"]) == ("Indexed", 8)
    (told,) = building["spec"]["template"]["spec"]["containers"]
    assert "--part $(JOB_COMPLETION_INDEX)/8" in " ".join(told["args"])
    (asked,) = publishing["spec"]["template"]["spec"]["containers"]
    assert "publish" in asked["args"]
    done = [args[args.index("--once") + 1] for args in (told["args"], asked["args"])]
    assert done[0].endswith("-$(JOB_COMPLETION_INDEX)")  # each pod's share by itself
    assert done[1] == f"s3://bucket/index/.once/{publishing['metadata']['name']}"
    work = [args[args.index("--work") + 1] for args in (told["args"], asked["args"])]
    assert work[0] == work[1]
    assert not any("helm.sh/hook" in one["metadata"].get("annotations", {}) for one in (building, publishing))


def test_a_build_by_schedule(rendered: Render) -> None:
    """A build with a schedule is a CronJob that builds, publishes and tidies up in one, each time in a folder of its
    own beside those of the times before; it keeps as many generations as it is told."""
    objects = rendered(**build(schedule="0 3 * * *"))
    (one,) = (one for name, one in objects.items() if name.startswith("CronJob/"))
    (container,) = one["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert "--publish" in container["args"]
    assert container["args"][container["args"].index("--work") + 1].endswith("/work-scheduled/$(JOB_NAME)")
    assert container["args"][-3:] == ["--tidy", "--keep", "3"]
    (seven,) = (
        one for name, one in rendered(**build(schedule="@daily", keep=7)).items() if name.startswith("CronJob/")
    )
    assert "--keep', '7'" in str(seven)
    assert not jobs(rendered, **build(schedule="0 3 * * *"))


def test_jobs_are_annotated_for_whoever_applies_them(rendered: Render) -> None:
    """A tool that applies rendered charts by itself can be told what to do about Jobs, which nobody can change."""
    replace = {"argocd.argoproj.io/sync-options": "Force=true,Replace=true"}
    made = jobs(rendered, indexer={"builds": {"photos": BUILD}, "commands": BACK, "annotations": replace})
    assert len(made) == 3
    assert all(one["metadata"]["annotations"].items() >= replace.items() for one in made.values())


def test_a_command_is_run_once(rendered: Render) -> None:
    """Any command of the indexer is a Job by the name that it is given, with the store and the searchers at hand."""
    ((name, one),) = jobs(rendered, indexer={"commands": BACK}).items()
    assert name.startswith("Job/sightline-indexer-back-")
    (container,) = one["spec"]["template"]["spec"]["containers"]
    note = f"s3://bucket/index/.once/{name.removeprefix('Job/')}"
    assert container["args"] == ["--once", note, "rollback", "--collection", "photos"]
    assert {"SIGHTLINE_STORE", "SIGHTLINE_SEARCHERS"} <= {variable["name"] for variable in container["env"]}


def test_selectors_never_change(rendered: Render) -> None:
    """What a Deployment selects stays, whatever values become: Kubernetes lets nobody change it."""
    before = rendered(searcher={"groups": 2})
    after = rendered(
        searcher={"groups": 3, "replicas": 5},
        image={"tag": "9.9"},
        pods={"labels": {"team": "search"}},
        encoder={"autoscaling": {"enabled": True}},
    )
    for name, one in before.items():
        if name.startswith("Deployment/"):
            assert one["spec"]["selector"] == after[name]["spec"]["selector"]


def test_a_group_that_leaves_stays_as_it_was(rendered: Render) -> None:
    """With fewer groups, those that are left over stay untouched until they are no longer named."""
    before = rendered(searcher={"groups": 3})
    meanwhile = rendered(searcher={"groups": 2, "leaving": 3})
    leaver = "Deployment/sightline-searcher-2"
    assert meanwhile[leaver] == before[leaver]
    told = [env(meanwhile[f"Deployment/sightline-searcher-{group}"])["SIGHTLINE_GROUPS"] for group in range(3)]
    assert told == ["2", "2", "3"]
    assert leaver not in rendered(searcher={"groups": 2})


def test_mutual_tls(rendered: Render) -> None:
    """With certificates asked for, gateways get theirs, and the page what it trusts and shows."""
    tls = {"enabled": True, "existingSecret": "gateway-tls", "clientCertificates": True, "webSecret": "web-tls"}
    objects = rendered(tls=tls)
    assert env(objects["Deployment/sightline-gateway"])["SIGHTLINE_TLS_CLIENT_CA"] == "/etc/sightline/tls/ca.crt"
    assert env(objects["Deployment/sightline-web"])["SIGHTLINE_GATEWAY_CERT"] == "/etc/sightline/tls/tls.crt"
    for name, secret in (("gateway", "gateway-tls"), ("web", "web-tls")):
        volumes = objects[f"Deployment/sightline-{name}"]["spec"]["template"]["spec"]["volumes"]
        assert {"name": "tls", "secret": {"secretName": secret}} in volumes


def test_a_secret_of_ones_own_is_left_alone(rendered: Render) -> None:
    """cert-manager makes the page's certificate, unless the page is given one: then nobody writes over that."""
    made = {"enabled": True, "certManager": {"enabled": True, "issuer": {"name": "ca"}}}

    def written(**tls: Any) -> list[str]:
        objects = rendered(tls={**made, **tls})
        return [one["spec"]["secretName"] for name, one in objects.items() if name.startswith("Certificate/")]

    assert written() == ["sightline-gateway-tls", "sightline-web-tls"]
    assert written(webSecret="my-own") == ["sightline-gateway-tls"]


@pytest.mark.parametrize(("asked", "cores"), [("500m", "1"), ("1500m", "2"), ("4", "4"), (2, "2"), ("0.5", "1")])
def test_an_encoder_has_a_thread_a_core_that_it_asks_for(rendered: Render, asked: str | int, cores: str) -> None:
    """A pod sees all cores of its node, and would start a thread for each."""
    told = env(rendered(encoder={"resources": {"requests": {"cpu": asked}}})["Deployment/sightline-encoder-default"])
    assert (told["SIGHTLINE_THREADS"], told["OMP_NUM_THREADS"]) == (cores, cores)


WATCHED = {"serviceMonitor": {"enabled": True}, "rules": {"enabled": True}}


def rules(rendered: Render, release: str = "shop", **values: Any) -> list[dict[str, Any]]:
    """The rules that a release brings."""
    made = rendered(release, **{"monitoring": WATCHED, **values})
    (one,) = (one for name, one in made.items() if name.startswith("PrometheusRule/"))
    return [rule for group in one["spec"]["groups"] for rule in group["rules"]]


def test_rules_are_about_their_release_alone(rendered: Render) -> None:
    """Every series of ours that a rule asks for is of the release, as the monitor labels it, and alerts say which."""
    (monitor,) = (
        one for name, one in rendered("shop", monitoring=WATCHED).items() if name.startswith("ServiceMonitor")
    )
    sources = {one["targetLabel"]: one["sourceLabels"] for one in monitor["spec"]["endpoints"][0]["relabelings"]}
    assert sources["release"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_instance"]
    for rule in rules(rendered):
        selectors = re.findall(r"\b(?:\w+:)?sightline_[a-z_]+(?::\w+)?(.{0,40})", rule["expr"])
        assert selectors or rule["alert"] in ("SightlineScaledToTheMost", "SightlineBuildFailed")
        assert all(one.startswith('{namespace="search", release="shop"') for one in selectors), rule
        assert "record" in rule or rule["labels"].items() >= {"namespace": "search", "release": "shop"}.items()


@pytest.mark.parametrize("engine", ["hpa", "keda"])
@pytest.mark.parametrize("given", ["", "lights"])
def test_an_alert_knows_the_autoscalers_of_its_release_by_name(rendered: Render, engine: str, given: str) -> None:
    """Whatever a release is called, the alert on autoscalers is about all of its own, and about nobody else's."""
    workloads: dict[str, Any] = {one: {"autoscaling": {"enabled": True}} for one in ("gateway", "web", "searcher")}
    encoder = {"autoscaling": {"enabled": True}, "pools": {"t4": {}, "cpu": {}}}
    values = {**workloads, "encoder": encoder, "autoscaling": {"engine": engine}, "fullnameOverride": given}
    (alert,) = (one for one in rules(rendered, **values) if one.get("alert") == "SightlineScaledToTheMost")
    (pattern,) = re.findall(r'horizontalpodautoscaler=~"([^"]+)"', alert["expr"])
    # KEDA's objects make autoscalers of that name.
    kinds = {"HorizontalPodAutoscaler": "", "ScaledObject": "keda-hpa-"}
    made = [name.split("/") for name in rendered("shop", **values)]
    scalers = [kinds[kind] + name for kind, name in made if kind in kinds]
    assert len(scalers) == 5
    assert [name for name in scalers if not re.fullmatch(pattern, name)] == []
    others = ("sightline-gateway", "shop-2-sightline-gateway", f"{given or 'shop-sightline'}-encoder-gateway", "web")
    assert [name for name in others if re.fullmatch(pattern, name)] == []


@pytest.mark.parametrize("given", ["", "lights", "a-name-of-forty-letters-and-no-more-is-k"])
def test_an_alert_knows_the_builds_of_its_release_by_name(rendered: Render, given: str) -> None:
    """Whatever a release is called, the alert on failed builds is about all Jobs of its indexer, and no other's."""
    indexer = {"builds": {"photos": BUILD, "new": {**BUILD, "schedule": "@daily"}}, "commands": BACK}
    values: dict[str, Any] = {"indexer": indexer, "fullnameOverride": given}
    (alert,) = (one for one in rules(rendered, **values) if one.get("alert") == "SightlineBuildFailed")
    (pattern,) = re.findall(r'job_name=~"([^"]+)"', alert["expr"])
    assert 'namespace="search"' in alert["expr"]
    made = [name.split("/")[1] for name in rendered("shop", **values) if re.match("(Cron)?Job/", name)]
    assert len(made) == 4
    assert [name for name in made if not re.fullmatch(pattern, name)] == []
    others = ("another-indexer-photos-build-1", "shop-2-sightline-indexer-photos-build-1")
    assert [name for name in others if re.fullmatch(pattern, name)] == []


def test_alerts_link_to_the_page_for_operators(rendered: Render) -> None:
    """Alerts name the page and their heading on it; where it is said where that page can be read, they link there."""
    told = {"rules": {"enabled": True, "runbookUrl": "https://git.example/sightline/docs/operations.md"}}
    for page, monitoring in (("docs/operations.md", WATCHED), (told["rules"]["runbookUrl"], told)):
        alerts = [one for one in rules(rendered, monitoring=monitoring) if "alert" in one]
        assert alerts
        for one in alerts:
            assert one["annotations"]["runbook_url"] == f"{page}#{one['alert'].lower()}"
