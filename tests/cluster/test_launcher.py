"""cluster/aws.yaml, cluster/gcp.yaml and cluster/local_autoscaler.yaml against Ray's own checks."""

import shlex
from pathlib import Path

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
CLOUDS = ["aws", "gcp"]


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / "cluster" / f"{name}.yaml").read_text())


def only(commands: list[str], word: str) -> list[str]:
    """The words of the one command that holds `word`."""
    [command] = [command for command in commands if word in command]
    return shlex.split(command)


@pytest.mark.parametrize("name", [*CLOUDS, "local_autoscaler"])
def test_ray_accepts_it(name):
    config = read(name)
    validate_config(prepare_config(config) if name in CLOUDS else config)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_rays_check_would_see_a_wrong_key(cloud):
    config = read(cloud)
    config["available_node_types"]["l4_spot"]["min_worker"] = 0
    with pytest.raises(ValidationError, match="min_worker"):
        validate_config(prepare_config(config))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_head_stays_and_takes_no_model_worker(cloud):
    config = read(cloud)
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    assert not {"InstanceMarketOptions", "scheduling"} & set(head["node_config"])  # on demand
    start = only(config["head_start_ray_commands"], "--head")
    assert {"--num-cpus=0", "--num-gpus=0", "--metrics-export-port=8080"} <= set(start)
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start
    assert "--dashboard-host=127.0.0.1" in start  # reached through `ray dashboard`, not the network


@pytest.mark.parametrize("cloud", CLOUDS)
def test_workers_are_spot_machines_with_gpus_that_may_all_go(cloud):
    config = read(cloud)
    workers = dict(config["available_node_types"])
    del workers[config["head_node_type"]]
    assert workers
    for worker in workers.values():
        assert worker["min_workers"] == 0
        assert 0 < worker["max_workers"] <= config["max_workers"]
        assert worker["resources"]["GPU"] == 1
        node = worker["node_config"]
        if cloud == "aws":
            assert node["InstanceMarketOptions"] == {"MarketType": "spot"}
        else:
            assert node["scheduling"]["provisioningModel"] == "SPOT"
    assert config["idle_timeout_minutes"] <= 5


def test_aws_workers_differ_in_their_machine_only():
    types = read("aws")["available_node_types"]
    l4, a10g = types["l4_spot"]["node_config"], types["a10g_spot"]["node_config"]
    assert {key for key in l4 if l4[key] != a10g[key]} == {"InstanceType"}
    assert l4.keys() == a10g.keys()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_worker_watches_for_its_clouds_notice(cloud):
    config = read(cloud)
    command = only(config["worker_start_ray_commands"], "spot_watcher.py")
    script = next(word for word in command if word.endswith("spot_watcher.py"))
    assert command[command.index(script) + 1] == cloud
    assert command[-1] == "&"
    assert "flock" in command
    inside_image = Path(script).relative_to("/opt/zsd_ray")
    assert (ROOT / inside_image).is_file()
    assert f"COPY {inside_image} {inside_image}" in (ROOT / "cluster/Dockerfile").read_text()
    assert not any("spot_watcher" in command for command in config["head_start_ray_commands"])
    start = only(config["worker_start_ray_commands"], "--address")
    assert {"--address=$RAY_HEAD_IP:6379", "--metrics-export-port=8080"} <= set(start)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_nodes_have_the_token_and_no_key(cloud):
    config = read(cloud)
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    for node_type in config["available_node_types"].values():
        node = node_type["node_config"]
        if cloud == "aws":
            assert node["IamInstanceProfile"]["Name"]
            assert node["MetadataOptions"]["HttpTokens"] == "required"
        else:
            assert node["serviceAccounts"][0]["email"]
    text = (ROOT / "cluster" / f"{cloud}.yaml").read_text().lower()
    assert not {"secret_access_key", "access_key_id", "gcp_credentials"} & set(text.split())


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_launcher_installs_nothing_beside_the_image(cloud):
    """Ray's defaults would install a nightly Ray."""
    prepared = prepare_config(read(cloud))
    assert prepared["head_setup_commands"] == prepared["worker_setup_commands"] == []
    assert prepared["docker"]["image"].endswith(":0.1.0")
