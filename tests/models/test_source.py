import shutil
from pathlib import Path

import fsspec
import pytest

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.files.source import fingerprint, resolve
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store


def test_a_model_at_a_url_is_fetched_whole_and_once(tiny_model, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    memory = fsspec.filesystem("memory")
    memory.put(f"{tiny_model}/", "/models/tiny/", recursive=True)
    memory.pipe_file("/models/tiny/notes.bin", b"not wanted")
    folder = resolve(ModelConfig(path="memory://models/tiny"), (), Store())
    assert fingerprint(folder) == fingerprint(tiny_model)
    assert not (folder / "notes.bin").exists()
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    assert resolve(ModelConfig(path="memory://models/tiny"), (), Store()) == folder
    assert stamps == {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}


def test_files_that_are_gone_from_a_url_are_gone_here(tiny_model, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    origin = tmp_path / "origin"
    shutil.copytree(tiny_model, origin)
    expected = fingerprint(origin)
    index = origin / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text("{}")
    folder = resolve(ModelConfig(path=f"file://{origin}"), (), Store())
    assert (folder / "unet" / index.name).is_file()
    index.unlink()
    folder = resolve(ModelConfig(path=f"file://{origin}"), (), Store())
    assert not (folder / "unet" / index.name).exists()
    assert fingerprint(folder) == expected


class Listing:
    """A store whose keys are anything, as those of S3 are."""

    def __init__(self, *names):
        self.names = names

    def find(self, root):
        return [f"{root}/{name}" for name in self.names]

    def ukey(self, name):
        return "1"

    def get_file(self, name, local):
        Path(local).write_text("{}")


@pytest.mark.parametrize(
    "name", ["../../../../x.json", "a/../../x.json", "/etc/x.json", "a//x.json"]
)
def test_keys_that_leave_their_folder_write_nothing(name, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a" / "cache"))
    listing = Listing("model_index.json", name)
    monkeypatch.setattr(Store, "open", lambda self, url: (listing, "b/model"))
    with pytest.raises(UserError, match="may lie outside of its folder") as caught:
        resolve(ModelConfig(path="s3://b/model"), (), Store())
    assert "x.json" in str(caught.value)
    assert list(tmp_path.rglob("*.json")) == []


def test_retrained_weights_of_the_same_size_are_fetched_again(tiny_model, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    origin = tmp_path / "origin"
    shutil.copytree(tiny_model, origin)
    before = fingerprint(resolve(ModelConfig(path=f"file://{origin}"), (), Store()))
    (weights,) = (origin / "vae").glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    after = fingerprint(resolve(ModelConfig(path=f"file://{origin}"), (), Store()))
    assert after == fingerprint(origin) != before


def test_large_files_are_told_apart_by_samples(tmp_path):
    path = tmp_path / "large.safetensors"
    with path.open("wb") as file:
        file.truncate((65 << 20) + 7)
    before = fingerprint(tmp_path)
    with path.open("r+b") as file:
        file.seek(33 << 20)
        file.write(b"x" * (1 << 20))
    assert fingerprint(tmp_path) != before


@pytest.mark.parametrize(
    "url", ["memory://models/none", "nosuchscheme://x/y", "file:///no/such/folder"]
)
def test_a_url_without_a_model_is_a_user_error(url, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"model\.path"):
        resolve(ModelConfig(path=url), (), Store())


def test_the_fingerprint_tells_weights_apart(tiny_model, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    assert fingerprint(other) == fingerprint(tiny_model)
    (other / "README.md").write_text("notes do not count")
    assert fingerprint(other) == fingerprint(tiny_model)
    (weights,) = (other / "unet").glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert fingerprint(other) != fingerprint(tiny_model)


def test_a_part_that_is_linked_to_is_hashed_as_one_that_lies_there(tmp_path):
    folder, elsewhere = tmp_path / "model", tmp_path / "unet"
    (folder / "unet").mkdir(parents=True)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(b"one")
    there = fingerprint(folder)
    (folder / "unet").rename(elsewhere)
    (folder / "unet").symlink_to(elsewhere)
    assert fingerprint(folder) == there
    weights.write_bytes(b"two")
    assert fingerprint(folder) != there
