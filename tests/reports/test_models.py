"""The lists of families and of a check's figures, as people read them."""

import json

from zsd_ray.cli import main
from zsd_ray.config.algorithms import ALGORITHMS
from zsd_ray.config.families import FAMILIES
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.reports.lines import aligned
from zsd_ray.reports.model_lines import check_rows


def test_every_family_is_listed_with_an_example_that_is_read(capsys):
    import yaml

    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    for name, family in FAMILIES.items():
        assert f"{name}: {family.about}" in printed
        config = parse_config(RunConfig, {"model": yaml.safe_load(family.example)})
        assert config.model.family == name
    assert max(len(line) for line in printed.splitlines()) <= 120


def test_the_list_for_programs(capsys):
    assert main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list(FAMILIES)
    assert found["sdxl"]["method"] == "diffusion-classifier"
    assert found["clip"]["methods"] == ["classifier"]
    assert "weighted-prompts" in found["sdxl"]["methods"]
    assert "weighted-prompts" not in found["dit"]["methods"]
    assert "ddim-knn" in found["dit"]["methods"]
    assert found["stable-diffusion"]["methods"] == ["diffusion-classifier", *ALGORITHMS]


def test_a_checks_figures():
    lines = aligned(check_rows(0.01234, 7, 8, "bfloat16")).splitlines()
    assert lines[1].endswith("0.012 of the image's largest")
    assert lines[2].endswith("7 of 8")


def test_check_model_prints_them(capsys, tmp_path):
    arguments = [
        "check-model",
        "configs/digits.yaml",
        "--images=1",
        f"--set=output.path={tmp_path}/r",
    ]
    assert main([*arguments, "--set=model.device=cpu"]) == 0
    assert "images decided alike" in capsys.readouterr().out
    assert main([*arguments, "--set=model.device=cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n_agree"], found["n_images"], found["agreement"]) == (1, 1, 1.0)
    assert not (tmp_path / "r").exists()
