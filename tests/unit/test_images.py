"""What the images are made of, and the cluster on a laptop. The bar `images` builds and runs them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from benchmarks import image_contents
from deploy.images import SERVICES, digest_of
from services.encoder.settings import EncoderSettings
from services.gateway.settings import GatewaySettings
from services.runtime.settings import PREFIX, Settings
from services.searcher.settings import SearcherSettings
from services.web.settings import WebSettings

CHECKOUT = Path(__file__).resolve().parents[2]
DEPLOY = CHECKOUT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
OURS = {name: one for name, one in COMPOSE["services"].items() if one["image"].startswith("sightline-")}
KINDS: dict[str, type[Settings]] = {
    "gateway": GatewaySettings,
    "web": WebSettings,
    "encoder": EncoderSettings,
    "searcher": SearcherSettings,
}
COMPOSE_GO = ("github.com/compose-spec/compose-go/v2/cmd", "v2.16.2")


def stage(name: str) -> str:
    """The lines of a stage of the Dockerfile."""
    return re.split(r"^FROM ", DOCKERFILE.split(f" AS {name}\n", 1)[1], flags=re.MULTILINE)[0]


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_has_the_code_that_its_service_imports_and_no_more(service: str) -> None:
    """What a stage copies of services/ is what the service's modules import, directly or not."""
    graph = grimp.build_graph("services", cache_dir=None)
    imported = graph.find_upstream_modules(f"services.{service}", as_package=True)
    wanted = {module.split(".")[1] for module in imported if "." in module} | {service, "runtime"}
    copied = re.findall(r"--from=code /app/services/(\w+)", stage("common") + stage(service))
    assert set(copied) - {"__init__"} == wanted


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_has_its_own_extra(service: str) -> None:
    """What an extra needs has nothing of the others: gateway and web do without torch, FAISS and pictures."""
    needed = image_contents.wanted(Path(sysconfig.get_path("purelib")), image_contents.EXTRAS[service], {})
    assert needed.isdisjoint(image_contents.ABSENT[service])
    assert {"grpcio", "prometheus-client"} <= needed


@pytest.mark.parametrize("service", SERVICES)
def test_images_start_their_service_as_nobody(service: str) -> None:
    """Each image has an entry point of its own, without a shell, and the numeric user of no name."""
    assert f'ENTRYPOINT ["python3", "-m", "services.{service}"]' in stage(service)
    assert stage("common").rstrip().splitlines()[-2:] == ["USER 65532:65532", "EXPOSE 7700 7790"]


def test_nothing_is_handed_to_a_build_but_what_it_copies() -> None:
    """The context is a list of what may come in, and the Dockerfile copies all of that."""
    lines = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        name for names in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in names.split()
    }
    assert rules[0] == "*"
    assert allowed == copied
    assert all((CHECKOUT / name).exists() for name in allowed)


def test_archives_are_named_by_what_they_are_made_of(tmp_path: Path) -> None:
    """A changed, moved or added file gives another name, and so does an argument; what Python caches does not."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("1")
    first = digest_of(["SERVICE=web"], tmp_path, ["code"])
    assert digest_of(["SERVICE=gateway"], tmp_path, ["code"]) != first
    (tmp_path / "code" / "__pycache__").mkdir()
    (tmp_path / "code" / "__pycache__" / "a.pyc").write_text("made")
    assert digest_of(["SERVICE=web"], tmp_path, ["code"]) == first
    (tmp_path / "code" / "a.py").rename(tmp_path / "code" / "b.py")
    assert digest_of(["SERVICE=web"], tmp_path, ["code"]) != first


def test_the_compose_file_is_one(tmp_path: Path) -> None:
    """The reference implementation of the Compose specification loads it: schema, references, merged anchors."""
    if not shutil.which("go"):
        pytest.skip("the loader of Compose files is built with Go")
    tool = subprocess.run([CHECKOUT / "tools" / "go_tool.sh", *COMPOSE_GO], check=True, capture_output=True, text=True)
    loaded = subprocess.run(
        [tool.stdout.strip(), "compose.yaml"], cwd=DEPLOY, capture_output=True, text=True, check=False
    )
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert set(yaml.safe_load(loaded.stdout)["services"]) == COMPOSE["services"].keys()


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_compose_file_speaks_of_settings_that_exist(name: str) -> None:
    """Every variable of a service is a setting of its process, with a value that the process takes."""
    environment = OURS[name].get("environment", {})
    if name == "indexer":  # it reads the environment option by option
        assert set(environment) == {"SIGHTLINE_STORE", "SIGHTLINE_ENCODERS", "SIGHTLINE_SEARCHERS"}
        return
    kind = KINDS[name.split("-", maxsplit=1)[0]]
    given = {variable.removeprefix(PREFIX).lower(): value for variable, value in environment.items()}
    assert given.keys() <= kind.model_fields.keys()
    kind.model_validate(given)


@pytest.mark.parametrize("name", sorted(OURS))
def test_containers_on_a_laptop_are_as_confined_as_pods(name: str) -> None:
    """Read-only but for /tmp and the cache, without capabilities, and built from the service's stage."""
    service = OURS[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp", "/var/cache/sightline"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["build"]["args"]["SERVICE"] == name.split("-", maxsplit=1)[0]
    assert all(":ro" in volume for volume in service.get("volumes", [])) or name == "indexer"


def test_the_laptop_is_reached_from_itself_alone() -> None:
    """Ports are published on the loopback, images are pinned, and every file that is mounted is there."""
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*|sightline-\w+:dev", service["image"]), name
        mounts = [volume.split(":")[0] for volume in service.get("volumes", []) if volume.startswith("./")]
        assert all((DEPLOY / mount).exists() for mount in mounts), mounts


def test_prometheus_reads_every_server_of_the_laptop() -> None:
    """Its names are those of the compose file, at the port of health."""
    watching = yaml.safe_load((DEPLOY / "compose" / "prometheus.yaml").read_text(encoding="utf-8"))
    asked = [found for job in watching["scrape_configs"] for found in job["dns_sd_configs"]]
    assert {name for one in asked for name in one["names"]} == OURS.keys() - {"indexer"}
    assert {one["port"] for one in asked} == {7790}
