"""FID and KID of two folders: against torch-fidelity from the pictures on, and on any workers."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.fidelity import fidelity
from tests.support.images import write_folder
from tests.support.inception import random_inception
from tests.support.tiny_models import clip_folder, ddpm, timm_folder
from zsd_ray.cli import main
from zsd_ray.config.data import DataConfig
from zsd_ray.config.run import parse_config
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import UserError
from zsd_ray.studies.fid.fid_config import FidConfig
from zsd_ray.studies.fid.measuring import _data_parts, fid


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """48 real pictures, and 24 generated ones, which are darker."""
    folder = tmp_path_factory.mktemp("sets")
    write_folder(folder / "real", 24)
    write_folder(folder / "generated", 12)
    for path in (folder / "generated").rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // 2).save(path)
    timm_folder(folder / "timm")
    return folder


def config(sets, output, **sections):
    tree = {
        "real": {"source": "folder", "path": str(sets / "real")},
        "generated": {"source": "folder", "path": str(sets / "generated")},
        "extractor": {"kind": "timm", "path": str(sets / "timm"), "device": "cpu"},
        "output": {"path": str(output)},
        "tracking": {"mlflow": "off"},
    }
    return parse_config(FidConfig, {**tree, **sections})


def images(folder, n=None):
    files = sorted(folder.rglob("*.png"))[:n]
    stacked = np.stack([np.asarray(Image.open(file)) for file in files])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def measured(sets, tmp_path_factory):
    output = tmp_path_factory.mktemp("measured") / "fid"
    return fid(config(sets, output), local=True, on_warning=lambda text: None)


@pytest.mark.full
def test_inception_end_to_end(tmp_path):
    network = random_inception()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    write_folder(tmp_path / "real", 4)
    write_folder(tmp_path / "generated", 3, classes=("x", "owl"))
    for path in (tmp_path / "generated").rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // 2).save(path)
    extractor = {"kind": "inception", "weights": str(tmp_path / "weights.pth"), "device": "cpu"}
    wanted = config(tmp_path, tmp_path / "fid", extractor=extractor, cluster={"batch_size": 4})
    warnings = []
    found = fid(wanted, local=True, on_warning=warnings.append).entry
    with torch.no_grad():
        real, made = (network(images(tmp_path / of))[0] for of in ("real", "generated"))
    assert found.fid == pytest.approx(frechet_of_few(real, made), rel=1e-4)
    assert (found.n_real, found.n_generated, found.n_features) == (8, 6, 2048)
    assert found.fid_low is None  # six images cannot be left out in tens
    kid = fidelity("metric_kid").kernel_mmd
    theirs = np.mean([kid(np.delete(real, pair, 0), made.numpy()) for pair in pairs(8)])
    assert found.kid == pytest.approx(theirs, abs=4 * found.kid_standard_error)
    assert len(found.identity_parts["extractor"]["sha256"]) == 64
    assert [warning.split(":")[0] for warning in warnings] == [
        "extractor.weights are not the published ones",
        "8 real images have a covariance of rank 7 at most, for 2,048 features",
        "6 generated images have a covariance of rank 5 at most, for 2,048 features",
    ]


def frechet_of_few(*sets):
    """With A of the centred rows over (n - 1)^(1/2), C is A^T A, and the trace of (C C')^(1/2) the
    sum of the singular values of A A'^T, which has a row an image: no covariance is made."""
    means = [of.double().mean(0) for of in sets]
    rows = [(of - m) / (len(of) - 1) ** 0.5 for of, m in zip(sets, means, strict=True)]
    shared = torch.linalg.svdvals(rows[0] @ rows[1].T).sum()
    return float(
        (means[0] - means[1]).square().sum() + sum(r.square().sum() for r in rows) - 2 * shared
    )


def pairs(n):
    return [(i, j) for i in range(n) for j in range(i)]


def test_the_distance_is_that_of_the_networks_pooled_features(sets, measured):
    import timm
    from timm.data import create_transform, resolve_data_config

    network = timm.create_model(f"local-dir:{sets / 'timm'}", pretrained=True, num_classes=0).eval()
    transform = create_transform(**resolve_data_config({}, model=network), is_training=False)
    vectors = []
    for of in ("real", "generated"):
        inputs = [transform(Image.open(file)) for file in sorted((sets / of).rglob("*.png"))]
        with torch.no_grad():
            vectors.append(network(torch.stack(inputs)).double())
    module = fidelity("metric_fid")
    stats = [module.fid_features_to_statistics(of) for of in vectors]
    theirs = module.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    found = measured.entry
    assert found.fid == pytest.approx(theirs, rel=1e-3, abs=1e-4)
    assert 0 <= found.fid_low < found.fid < found.fid_high


def test_two_workers_find_the_same_figures(local_ray, sets, measured, tmp_path):
    found = fid(config(sets, tmp_path / "fid", cluster={"workers": 2}), on_warning=list)
    ours, theirs = found.entry, measured.entry
    assert (ours.identity, ours.fid, ours.kid) == (theirs.identity, theirs.fid, theirs.kid)


def test_another_batch_size_changes_no_more_than_the_last_digits(sets, measured, tmp_path):
    wanted = config(sets, tmp_path / "fid", cluster={"batch_size": 5})
    found = fid(wanted, local=True, on_warning=list).entry
    assert found.fid == pytest.approx(measured.entry.fid, rel=1e-3)


def test_real_images_are_seen_once(sets, measured):
    output = measured.output
    seen = []

    def measure(**sections):
        return fid(
            config(sets, output, **sections),
            local=True,
            on_images=lambda done, total: seen.append((done, total)),
            on_warning=list,
        ).entry

    assert measure().fid == measured.entry.fid
    assert seen == [(24, 24)]
    with open(f"{output}/fid.json") as file:
        assert len(json.load(file)["sets"]) == 1
    measure(generated={"source": "folder", "path": str(sets / "real")})
    assert seen[1:] == [(48, 48)]
    with open(f"{output}/fid.json") as file:
        same = json.load(file)["sets"][1]
    assert same["fid"] == pytest.approx(0, abs=1e-3)
    measure(real={"source": "folder", "path": str(sets / "real"), "limit": 30})
    assert seen[2:] == [(30, 54), (54, 54)]


def test_clip_and_a_block_of_a_denoiser(sets, tmp_path):
    clip_folder(tmp_path / "clip")
    ddpm(tmp_path / "ddpm", num_class_embeds=None)
    unet = {"family": "ddpm", "path": str(tmp_path / "ddpm"), "device": "cpu"}
    of_clip = {"kind": "clip", "path": str(tmp_path / "clip"), "device": "cpu"}
    of_block = {"kind": "denoiser", "model": unet, "block": "mid"}
    for extractor, n_features in ((of_clip, 24), (of_block, 16)):
        wanted = config(sets, tmp_path / "fid", extractor=extractor, image_size=16)
        found = fid(wanted, local=True, on_warning=list).entry
        assert found.n_features == n_features
        assert found.fid > 0


@pytest.mark.parametrize(
    "change", [{"compatible": "torchvision"}, {"corruption": {"kind": "jpeg", "strength": 1}}]
)
def test_what_is_done_to_the_pictures_makes_them_another_set(change):
    """Statistics of the clean pictures would be taken for those of the damaged ones."""

    def parts(**keys):
        data = DataConfig(**keys)
        return _data_parts(data, open_dataset(data), range(3))

    assert parts() != parts(**change)
    assert set(parts()) == {"source", "path", "split", "image_column", "n", "images"}


def refused(wanted):
    with pytest.raises(UserError) as caught:
        fid(wanted, local=True)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_is_refused(sets, tmp_path):
    out = tmp_path / "fid"
    nothing = {"source": "folder", "path": str(tmp_path / "none")}
    assert refused(config(sets, out, generated=nothing)).startswith("generated: data.path")
    one = {"source": "folder", "path": str(sets / "real"), "limit": 1}
    assert "real has 1 image" in refused(config(sets, out, real=one))
    assert "batch_size auto" in refused(config(sets, out, cluster={"batch_size": "auto"}))
    timm = {"kind": "timm", "path": str(tmp_path / "none")}
    assert refused(config(sets, out, extractor=timm)).startswith("extractor: ")
    edm = {"kind": "denoiser", "block": "mid", "model": {"family": "custom"}}
    assert "does not show what its blocks" in refused(config(sets, out, extractor=edm))
    block = {"kind": "denoiser", "block": "down.9"}
    assert "extractor.block down.9 is none of this model's: down.0, down.1, mid" in refused(
        config(sets, out, extractor=block)
    )
    assert not out.exists()
    write_folder(tmp_path / "mixed", 2)
    Image.new("RGB", (9, 9)).save(tmp_path / "mixed" / "cat" / "9.png")
    mixed = {"source": "folder", "path": str(tmp_path / "mixed")}
    text = refused(config(sets, out, generated=mixed))
    assert "generated has images of 9 x 9 and 16 x 16 pixels; set image_size" in text
    write_folder(tmp_path / "bad", 2, bad=("cat/1.png",))
    bad = {"source": "folder", "path": str(tmp_path / "bad")}
    assert "remove the image" in refused(config(sets, out, generated=bad))


def test_mistakes_in_the_extractor_are_named():
    def parse(**extractor):
        parse_config(FidConfig, {"generated": {}, "extractor": extractor})

    with pytest.raises(UserError, match=r"extractor.kind: came 'incep'; allowed: 'inception'"):
        parse(kind="incep")
    with pytest.raises(UserError, match=r"unknown key extractor.weigths; did you mean 'weights'"):
        parse(kind="inception", weights="a", weigths="b")
    with pytest.raises(UserError, match=r"unknown key extractor.model.famly; did you mean 'family"):
        parse(kind="denoiser", block="mid", model={"famly": "ddpm"})


def test_the_command(sets, measured, capsys, tmp_path):
    wanted = config(sets, tmp_path / "fid")
    file = tmp_path / "fid.yaml"
    file.write_text(wanted.model_dump_json(exclude_unset=True))
    assert main(["fid", str(file), "--local"]) == 0
    out = capsys.readouterr().out
    for words in (f"FID       {measured.entry.fid:.4g}  95% interval", "KID", "24 generated, 48"):
        assert words in out
    assert main(["fid", str(file), "--local", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fid"] == measured.entry.fid
