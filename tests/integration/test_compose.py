"""compose.yaml, read by the reference parser: what it starts is there, is locked, and has no password in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path

import mlflow.environment_variables
import pytest
import yaml
from mlflow.cli import server
from typer.main import get_command

from controlplane.cli import app
from controlplane.environment import TRAINING, handed_on
from controlplane.settings import Settings as ControlSettings
from deploy.setup.grant import KEYS
from deploy.setup.make_secrets import SECRETS
from observability.settings import Settings as LogSettings
from observability.spool.writer import SUFFIX
from observability.telemetry.settings import LogSettings as LineSettings
from observability.telemetry.settings import MetricsSettings
from serving.settings import Settings as ServingSettings
from tests.servers import compose
from tests.servers.absence import absent
from tests.servers.elasticsearch_distribution import VERSION
from tests.servers.promtool import promtool

ROOT = Path(__file__).parents[2]
ONCE = {"secrets", "grants", "templates", "dashboards"}
OURS = "driftgate:"


@pytest.fixture(scope="module")
def written() -> dict:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def model() -> dict:
    done = compose.parsed(ROOT / "compose.yaml")
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


@pytest.fixture(scope="module")
def services(model) -> dict:
    return model["services"]


def of_ours(services: dict) -> dict:
    return {name: service for name, service in services.items() if service["image"].startswith(OURS)}


def test_the_reference_parser_takes_it_and_finds_every_part(services):
    assert {"elasticsearch", "kibana", "filebeat", "logstash", "postgres", "mlflow", "alertmanager", "prometheus",
            "control", "monitor", "shipper", "serving"} <= set(services)  # fmt: skip


def test_everything_that_goes_on_says_whether_it_is_well_and_is_started_again(services):
    for name, service in services.items():
        if name in ONCE:
            assert service["restart"].startswith("on-failure") and service["healthcheck"] == {"disable": True}, name
        elif name == "cli":
            assert service["restart"] == "no" and service["healthcheck"] == {"disable": True}
        else:
            assert service["healthcheck"]["test"] and service["restart"] == "unless-stopped", name


def test_every_image_has_a_version_and_names_no_registry(services):
    for name, service in services.items():
        image, _, tag = service["image"].partition(":")
        assert re.search(r"\d", tag) and tag != "latest", name
        assert "." not in image.split("/")[0], name


#: what an image's own entrypoint or program cannot start without
CAPABILITIES = {
    "secrets": {"CHOWN", "DAC_OVERRIDE", "FOWNER"},
    "postgres": {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"},
    "caddy": {"NET_BIND_SERVICE"},
}


def test_the_image_is_built_once_and_never_fetched(services):
    assert [name for name, service in services.items() if "build" in service] == ["secrets"], "on which all others wait"
    assert {service["pull_policy"] for service in of_ours(services).values()} == {"never"}
    assert Path(services["secrets"]["build"]["context"], services["secrets"]["build"]["dockerfile"]).exists()


def test_nobody_gets_more_than_he_needs(services):
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert set(service.get("cap_add", ())) == CAPABILITIES.get(name, set()), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged") and "host" not in (service.get("network_mode"), service.get("pid")), name
        assert not any("docker.sock" in str(volume) for volume in service.get("volumes", ())), name
    for name, service in of_ours(services).items():
        assert service["read_only"], name
        assert name == "secrets" or "user" not in service, "the image's own account"


def test_people_reach_it_on_this_machine_only_and_what_it_stands_on_not_at_all(services, model):
    assert model["networks"]["inside"]["internal"]
    published = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert all(port["host_ip"] == "127.0.0.1" for ports in published.values() for port in ports)
    hidden = {"elasticsearch", "postgres", "mlflow", "control", "serving", "monitor", "shipper", "logstash"}
    for name in hidden:
        assert name not in published and set(services[name]["networks"]) == {"inside"}, name


def test_no_password_is_in_it(written, services):
    text = (ROOT / "compose.yaml").read_text()
    assert not re.search(r"(?i)(password|secret|api_?key|token|_key)\s*[:=]\s*[\"']?[A-Za-z0-9+/]{6,}", text)
    assert "changeme" not in text
    for name, service in services.items():
        for variable, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|SECRET|KEY|TOKEN", variable) and "_FILE" not in variable:
                assert str(value).startswith("/run/") or value in ("true", "false"), (name, variable)


def test_what_is_mounted_is_there(services, model):
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), (name, volume)
                assert volume["read_only"], (name, volume)
            else:
                assert volume["source"] in model["volumes"], (name, volume)


def test_a_foreign_account_writes_only_where_its_image_lets_its_group(services):
    """A new volume takes its owner from the image's folder of that name; where there is none, it is root's."""
    foreign = {name for name, service in services.items() if "user" in service and name != "secrets"}
    assert foreign == {"filebeat", "logstash"}
    for name in foreign:
        assert services[name]["user"] == "10001:0"
        written = [each["target"] for each in services[name]["volumes"] if not each.get("read_only")]
        assert written == [f"/usr/share/{name}/data"]


def test_elastics_parts_are_of_one_version_the_one_that_the_tests_start(services):
    stack = ("elasticsearch", "kibana", "filebeat", "logstash")
    assert {services[name]["image"].partition(":")[2] for name in stack} == {VERSION}


def test_only_the_proxy_is_believed_and_its_address_is_given_to_nobody_else(model):
    (network,) = model["networks"]["inside"]["ipam"]["config"]
    address = ip_address(model["services"]["caddy"]["networks"]["inside"]["ipv4_address"])
    believed = model["services"]["control"]["environment"]["CONTROLPLANE_TRUSTED_PROXIES"]
    assert believed == str(address)
    assert address in ip_network(network["subnet"]) and address not in ip_network(network["ip_range"])


def test_it_moves_to_another_network_or_namespace_by_one_variable_each():
    text = (ROOT / "compose.yaml").read_text()
    subnet, namespace = "${DRIFTGATE_SUBNET:-172.30.10}", "${DRIFTGATE_NAMESPACE:-default}"
    assert text.count(subnet) == text.count("172.30") == 4
    assert text.count(namespace) == 3, "settings of ours, the keys, and Logstash"


def test_each_secret_is_mounted_by_its_reader_only(services):
    mounted = {
        name: {each["source"].removeprefix("secrets-") for each in service.get("volumes", ())
               if each["source"].startswith("secrets-")}
        for name, service in services.items() if name != "secrets"
    }  # fmt: skip
    made = {secret.file.split("/")[0] for secret in SECRETS} | {key.split("/")[0] for key in KEYS.values()}
    assert set.union(*mounted.values()) == made
    assert mounted["elasticsearch"] == {"elastic"} and mounted["kibana"] == {"kibana"}
    assert mounted["shipper"] == {"ship"} and mounted["control"] == mounted["monitor"] == mounted["cli"] == {"app"}
    assert mounted["serving"] == mounted["mlflow"] == set() and mounted["logstash"] == {"logstash"}
    assert [name for name, folders in mounted.items() if "setup" in folders] == ["dashboards", "grants", "templates"]


def settings_names() -> set[str]:
    names = set()
    for settings in (ControlSettings, LogSettings, LineSettings, MetricsSettings, ServingSettings):
        prefix = settings.model_config["env_prefix"]
        names |= {prefix + field.upper() for field in settings.model_fields}
        names.add(prefix + "SECRETS")
    return names


def test_every_setting_of_ours_exists(services):
    known = settings_names()
    for name, service in of_ours(services).items():
        for variable in service.get("environment") or {}:
            if variable.startswith(("CONTROLPLANE_", "OBSERVABILITY_", "SERVING_", "PIPELINE_")):
                assert variable in known, (name, variable)


def test_the_settings_are_taken_as_they_stand_there(services, monkeypatch):
    for name, service in of_ours(services).items():
        with monkeypatch.context() as patched:
            for variable, value in (service.get("environment") or {}).items():
                if not variable.endswith("_SECRETS"):
                    patched.setenv(variable, value)
            ControlSettings(), LogSettings(), MetricsSettings()
            assert name in ONCE | {"serving", "mlflow"} or LogSettings().store == "elasticsearch", name


def test_a_training_run_reaches_the_log_store_and_knows_nothing_of_the_database(services):
    given = handed_on(services["control"]["environment"], TRAINING)
    assert {"OBSERVABILITY_STORE", "OBSERVABILITY_SECRETS", "OBSERVABILITY_NAMESPACE"} <= set(given)
    assert not any(name.startswith("CONTROLPLANE_") for name in given)


def test_every_command_of_ours_exists(services):
    for name, service in of_ours(services).items():
        words = service["command"] if name != "cli" else ["apply"]
        if "entrypoint" in service:
            if "driftgate" not in (started := service["entrypoint"][-1].split()):
                continue
            words = started[started.index("driftgate") + 1 :]
        command = get_command(app)
        for word in words:
            command = command.commands[word]
        assert command.callback is not None, name


def test_mlflow_takes_its_options(services):
    said = {word.partition("=")[0] for word in services["mlflow"]["command"]}
    assert said <= {option for each in server.params for option in each.opts}
    environment = services["mlflow"]["environment"]
    assert all(hasattr(mlflow.environment_variables, name) for name in environment)


def test_the_command_line_finds_the_control_plane_and_its_token_by_itself(services):
    cli, control = services["cli"], services["control"]
    assert cli["network_mode"] == "service:control" and cli["profiles"] == ["cli"]
    assert {each["source"] for each in cli["volumes"]} >= {"data", "secrets-app"}
    assert cli["environment"]["CONTROLPLANE_HOST"] == control["environment"]["CONTROLPLANE_HOST"]


def test_dashboards_and_alerts_lead_to_the_same_page(services):
    urls = {services[name]["environment"]["CONTROLPLANE_PUBLIC_URL"] for name in ("control", "dashboards", "monitor")}
    assert urls == {"https://localhost:8443"}


def test_each_instance_of_serving_has_a_name_of_its_own(services):
    assert 'SERVING_INSTANCE="serving-$(hostname)"' in services["serving"]["entrypoint"][-1]
    assert ServingSettings(home=ROOT, token="t" * 32, instance=f"serving-{'0123456789ab'}").instance


def test_a_start_waits_for_what_it_needs(services):
    def needs(name: str) -> set[str]:
        direct = set(services[name].get("depends_on") or {})
        return direct.union(*(needs(each) for each in direct)) if direct else direct

    assert {"postgres", "elasticsearch", "templates", "secrets"} <= needs("control")
    assert {"grants", "secrets"} <= needs("kibana") and "kibana" in needs("dashboards")
    assert all(name not in needs(name) for name in services)


def test_prometheus_asks_every_process_by_its_name_and_port(services):
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "compose.yml").read_text())
    looked_up = [each for job in config["scrape_configs"] for each in job["dns_sd_configs"]]
    ports = {name: field.default for name, field in MetricsSettings.model_fields.items()}
    assert {name for each in looked_up for name in each["names"]} == {"control", "monitor", "shipper", "serving"}
    for each in looked_up:
        (name,) = each["names"]
        assert each["type"] == "A" and each["port"] == ports[f"{name}_port"] and name in services, each


def test_logstash_gets_what_its_pipeline_names(services):
    pipeline = (ROOT / "deploy" / "logstash" / "pipeline" / "driftgate.conf").read_text()
    named = set(re.findall(r"\$\{([A-Z_]+)", pipeline))
    script = services["logstash"]["command"][-1]
    assert named == {"ELASTICSEARCH_URL", "DRIFTGATE_NAMESPACE", "ELASTICSEARCH_API_KEY"}
    assert named - set(services["logstash"]["environment"]) == {"ELASTICSEARCH_API_KEY"}
    assert "ELASTICSEARCH_API_KEY=" in script and f"/run/driftgate/{Path(KEYS['logstash']).name}" in script
    assert not re.search(r"^ *api_key =>", pipeline, re.MULTILINE), "the plugin refuses that one over http"


def test_filebeat_moves_lines_and_takes_none_apart():
    config = yaml.safe_load((ROOT / "deploy" / "filebeat" / "filebeat.yml").read_text())
    (given,) = config["filebeat.inputs"]
    assert "parsers" not in given and "processors" not in config
    assert given["paths"] == ["${DRIFTGATE_SPOOL:/data/spool}/*/*" + SUFFIX]


def test_prometheus_takes_its_configuration():
    done = promtool("check", "config", str(ROOT / "deploy" / "prometheus" / "compose.yml"))
    assert done.returncode == 0, done.stdout


def test_logstash_keeps_on_the_disk_what_it_took():
    config = yaml.safe_load((ROOT / "deploy" / "logstash" / "logstash.yml").read_text())
    assert config["queue.type"] == "persisted" and config["queue.checkpoint.writes"] == 1
    assert config["dead_letter_queue.enable"] is True


def test_alertmanager_as_it_comes_tells_nobody():
    path = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
    config = yaml.safe_load(path.read_text())
    assert config["receivers"] == [{"name": config["route"]["receiver"]}]
    if shutil.which("amtool") is None:
        missing = "amtool is missing: `make servers` installs it"
        absent(missing)
    done = subprocess.run(["amtool", "check-config", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
