import shutil

import fsspec
import pytest

from zsd_ray.models.source import fingerprint, resolve
from zsd_ray.spec.config import ModelConfig
from zsd_ray.spec.errors import UserError


def test_a_model_at_a_url_is_fetched_whole_and_once(tiny_model, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    memory = fsspec.filesystem("memory")
    memory.put(f"{tiny_model}/", "/models/tiny/", recursive=True)
    memory.pipe_file("/models/tiny/notes.bin", b"not wanted")
    folder = resolve(ModelConfig(path="memory://models/tiny"), ())
    assert fingerprint(folder) == fingerprint(tiny_model)
    assert not (folder / "notes.bin").exists()
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    assert resolve(ModelConfig(path="memory://models/tiny"), ()) == folder
    assert stamps == {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}


def test_retrained_weights_of_the_same_size_are_fetched_again(tiny_model, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    origin = tmp_path / "origin"
    shutil.copytree(tiny_model, origin)
    before = fingerprint(resolve(ModelConfig(path=f"file://{origin}"), ()))
    (weights,) = (origin / "vae").glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    after = fingerprint(resolve(ModelConfig(path=f"file://{origin}"), ()))
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
        resolve(ModelConfig(path=url), ())


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
