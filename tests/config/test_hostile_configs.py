"""Configurations that nobody should write end in one line of every command that reads one."""

import os
import random
import threading
from pathlib import Path

import pytest

from tests.hostile import configs
from zsd_ray.config.run import RunConfig, load_config
from zsd_ray.config.training import load_training
from zsd_ray.records.errors import UserError
from zsd_ray.studies.fid.fid_config import FidConfig
from zsd_ray.studies.generation.generate_config import GenerateConfig
from zsd_ray.studies.probes.probe_config import ProbeConfig
from zsd_ray.studies.sweeps.suite_config import SuiteConfig

READERS = {
    "run": lambda path: load_config(RunConfig, path),
    "probe": lambda path: load_config(ProbeConfig, path),
    "generate": lambda path: load_config(GenerateConfig, path),
    "fid": lambda path: load_config(FidConfig, path),
    "suite": lambda path: load_config(SuiteConfig, path),
    "train": load_training,
}


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "own.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return path

    return write


def refused(call):
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 2000
    return message


@pytest.mark.few(4)
@pytest.mark.parametrize("name", configs.TEXTS)
def test_every_reader_refuses_a_hostile_text_in_one_line(write, name):
    path = write(configs.TEXTS[name])
    for read in READERS.values():
        assert "own.yaml" in refused(lambda: read(path))  # noqa: B023


@pytest.mark.parametrize("name", configs.GOOD_TEXTS)
def test_what_only_looks_odd_is_read(write, name):
    config = load_config(RunConfig, write(configs.GOOD_TEXTS[name]))
    assert config.seed in (0, 3, 16)
    assert config.output.path in ("runs/run", "runs/x", "2026-01-13")


@pytest.mark.parametrize("name", configs.OVERRIDES)
def test_a_hostile_override_is_refused_in_one_line(write, name):
    refused(lambda: load_config(RunConfig, write("seed: 1"), [configs.OVERRIDES[name]]))


def test_a_text_with_a_sign_of_yaml_is_taken_as_it_was_typed(write):
    config = load_config(
        RunConfig, write("seed: 1"), ["data.source=folder", "data.path=photos #2: *new* @home"]
    )
    assert config.data.path == "photos #2: *new* @home"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (os.mkfifo, "a pipe that nobody writes to"),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (lambda path: path.symlink_to("/dev/zero"), "larger than 8 MB"),
        (lambda path: path.write_bytes("seed: 1".encode("utf-16")), "not UTF-8"),
        (lambda path: None, "No such file"),
    ],
    ids=["folder", "pipe", "loop", "endless", "UTF-16", "absent"],
)
def test_what_is_no_file_of_text_is_refused(tmp_path, make, says):
    make(tmp_path / "own.yaml")
    assert says in refused(lambda: load_config(RunConfig, tmp_path / "own.yaml"))


def test_names_that_no_file_can_have_are_refused():
    for path in ("a\0b", "x" * 5000, ""):
        with pytest.raises(UserError, match="cannot read the configuration"):
            load_config(RunConfig, path)


def test_a_pipe_that_is_written_to_is_read(tmp_path):
    """As `zsd-ray plan <(...)` has it."""
    read, write = os.pipe()
    thread = threading.Thread(target=lambda: os.write(write, b"seed: 3") and os.close(write))
    thread.start()
    try:
        assert load_config(RunConfig, f"/dev/fd/{read}").seed == 3
    finally:
        thread.join()
        os.close(read)


def test_three_hundred_mutations_of_what_ships_are_read_or_refused(write):
    rng = random.Random(15)
    texts = [Path(f"configs/{name}.yaml").read_text() for name in ("digits", "two-objects")]
    for _ in range(300):
        path = write(configs.mutate(rng.choice(texts), rng))
        try:
            load_config(RunConfig, path)
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017
