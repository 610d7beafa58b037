"""Inception from a file: the library's own numbers, and no code of the file's is run."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.hostile.model_folders import FILE_DAMAGES, add_tensor, lose_tensor, put_number
from tests.support.inception import random_inception
from zsd_ray.models.features.inception import check_weights, load_inception
from zsd_ray.records.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    return random_inception()


@pytest.mark.few(1)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_features_are_the_librarys(network, suffix, tmp_path):
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(network.state_dict(), path)
    else:
        save_file(network.state_dict(), path)
    assert check_weights(str(path)) == hashlib.sha256(path.read_bytes()).hexdigest()
    pictures = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    ours = load_inception(str(path), CPU)(pictures)
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    with torch.no_grad():
        theirs = network(images)[0].numpy()
    assert ours.shape == (2, 2048)
    assert np.abs(theirs[0] - theirs[1]).max() > 1e-3
    np.testing.assert_array_equal(ours, theirs)


class Harm:
    """Pickled, it writes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_file_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Harm(str(tmp_path / "harm"))))
    with pytest.raises(UserError, match="cannot be read"):
        load_inception(str(path), CPU)
    assert not (tmp_path / "harm").exists()


def test_files_that_are_not_its_weights_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no file; get weights-inception-2015-12-05-6726825d.pth"):
        check_weights(str(tmp_path / "none.pth"))
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="not those of this network"):
        load_inception(str(tmp_path / "other.pth"), CPU)


def test_damaged_weights_are_refused_before_anything_is_loaded(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(1000)}, path)
    content = path.read_bytes()
    for damage in FILE_DAMAGES.values():
        damage(path)
        with pytest.raises(UserError, match=r"weights\.safetensors|get weights-inception"):
            check_weights(str(path))
        if path.is_dir():
            path.rmdir()
        path.write_bytes(content)
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(UserError, match="not those of this network"):
        load_inception(str(tmp_path / "list.pth"), CPU)


@pytest.mark.few(1)
@pytest.mark.parametrize("spoil", [lose_tensor, add_tensor])
def test_weights_with_other_tensors_are_refused_by_name(spoil, network, tmp_path):
    path, tensor = tmp_path / "weights.safetensors", "Mixed_5b.branch1x1.conv.weight"
    save_file(network.state_dict(), path)
    tensor = f"{tensor}_more" if spoil is add_tensor else tensor
    spoil(path, tensor)
    with pytest.raises(UserError, match=tensor):
        load_inception(str(path), CPU)


def test_weights_with_a_number_that_is_none_are_refused_by_name(network, tmp_path):
    file = tmp_path / "weights.safetensors"
    save_file(network.state_dict(), file)
    put_number(file, "Mixed_5b.branch1x1.conv.weight", float("nan"))
    with pytest.raises(UserError, match=r"NaN or infinity.*Mixed_5b\.branch1x1\.conv\.weight"):
        load_inception(str(file), CPU)
