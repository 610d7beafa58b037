from pathlib import Path

import pytest

from zsd_ray.config.run import RunConfig, load_config, parse_config
from zsd_ray.config.training import load_training, parse_training
from zsd_ray.records.errors import UserError


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("name", ["digits", "baselines/clip_imagenet", "baselines/timm_imagenet"])
def test_the_configurations_that_ship_are_valid(name):
    config = load_config(RunConfig, f"configs/{name}.yaml")
    assert parse_config(RunConfig, config.model_dump(mode="json")) == config


@pytest.mark.parametrize("path", sorted(Path("configs/training").glob("*.yaml")), ids=str)
def test_the_training_configurations_that_ship_are_valid(path):
    config = load_training(path)
    assert path.name.startswith(config.kind)
    assert parse_training(config.model_dump(mode="json")) == config


def test_an_empty_file_means_the_defaults(write):
    assert load_config(RunConfig, write("")) == RunConfig()


def test_overrides_and_limit_win(write):
    path = write("data: {limit: 7}\nseed: 3\n")
    config = load_config(
        RunConfig, path, ["seed=5", "output.path=runs/x", "prompts.templates=['a {}.']"], limit=9
    )
    assert (config.seed, config.output.path, config.data.limit) == (5, "runs/x", 9)
    assert config.prompts.templates == ["a {}."]


def test_a_rule_is_chosen_by_name_and_is_anytime_by_default(write):
    assert load_config(RunConfig, write("seed: 1")).pruning.rule == "anytime"
    assert load_config(RunConfig, write("pruning: {min_draws: 5}")).pruning.min_draws == 5
    paper = load_config(RunConfig, write("pruning: {rule: clark-jaini, min_scores: 5}"))
    assert (paper.pruning.min_scores, paper.pruning.p_value) == (5, 0.002)
    li = load_config(RunConfig, write("pruning: {rule: li, keep: [5, 1], draws: [50, 500]}"))
    assert li.pruning.keep == [5, 1]
    none = load_config(RunConfig, write("pruning: {rule: none, draws: 12}"))
    assert none.pruning.draws == 12


def test_the_weighting_of_li_et_al_is_simple(write):
    config = load_config(RunConfig, write("method: {weighting: uniform-eps}"))
    assert config.method.weighting == "simple"


def test_yaml_off_switches_mlflow_off(write):
    assert load_config(RunConfig, write("tracking: {mlflow: off}")).tracking.mlflow == "off"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modle: {}", ["unknown key modle", "did you mean 'model'"]),
        ("data: {sorce: digits}", ["unknown key data.sorce", "did you mean 'source'"]),
        ("data: {zzzz: 1}", ["unknown key data.zzzz", "allowed: source, path"]),
        ("pruning: {min_draw: 3}", ["unknown key pruning.min_draw", "'min_draws'"]),
        ("pruning: {rule: li, p_value: 0.1}", ["unknown key pruning.p_value", "allowed:", "keep"]),
        ("pruning: {rule: clark}", ["pruning.rule", "came 'clark'", "'clark-jaini'", "'li'"]),
        ("pruning: {rule: clark-jaini, p_value: 2}", ["pruning.p_value", "came 2", "less than 1"]),
        (
            "pruning: {rule: clark-jaini, min_scores: 50, max_scores: 20}",
            ["max_scores (20)", "min_scores (50)"],
        ),
        ("pruning: {min_draws: 1}", ["pruning.min_draws", "came 1"]),
        ("pruning: {min_draws: 9, max_draws: 8}", ["min_draws (9)", "max_draws (8)"]),
        ("pruning: {indifference: 0}", ["pruning.indifference", "came 0"]),
        ("pruning: {rule: li, keep: [1, 5], draws: [2, 3]}", ["keep must fall", "[1, 5]"]),
        ("pruning: {rule: li, keep: [5], draws: [2, 3]}", ["one entry a stage"]),
        ("method: {weighting: heuristc}", ["method.weighting", '"heuristc"', "did you mean"]),
        ("method: {t_range: [0.9, 0.1]}", ["method.t_range", "0 <= low < high <= 1"]),
        ("cluster: {workers: two}", ["cluster.workers", 'came "two"', "integer"]),
        ("cluster: {workers: 0}", ["cluster.workers", "came 0"]),
        ("prompts: {classes: [cat, {a: b}]}", ["prompts.classes", "takes a list of names"]),
        ("prompts: {classes: [yes, no]}", ["prompts.classes", "True", "quote names"]),
        ("prompts: {templates: ['a photo']}", ["prompts.templates", "exactly one {}"]),
        ("prompts: {templates: ['{} and {}']}", ["prompts.templates", "exactly one {}"]),
        ("data: {source: folder}", ["needs a path"]),
        ("data: {source: digits, path: x}", ["path says nothing of source digits; remove it"]),
        ("model: {device: gpu}", ["model.device", 'came "gpu"']),
        ("seed: -1", ["seed", "came -1"]),
        ("- a\n- b", ["must hold sections"]),
        ("a: [", ["not valid YAML"]),
        ("!!python/object:os.system {}", ["not valid YAML"]),
    ],
)
def test_a_mistake_is_named_with_what_came_and_what_is_allowed(write, text, words):
    with pytest.raises(UserError) as caught:
        load_config(RunConfig, write(text))
    message = str(caught.value)
    assert "\n" not in message
    assert "run.yaml" in message
    for word in words:
        assert word in message


def test_every_mistake_is_reported_at_once(write):
    with pytest.raises(UserError, match=r"workers.*; seed"):
        load_config(RunConfig, write("seed: x\ncluster: {workers: 0}"))


@pytest.mark.parametrize(
    ("override", "word"),
    [("seed", "section.key=value"), ("a.b.=1", "section.key"), ("seed.x=1", "is a value")],
)
def test_a_bad_override_says_what_it_takes(write, override, word):
    with pytest.raises(UserError, match=word):
        load_config(RunConfig, write("seed: 1"), [override])


def test_numbers_in_class_lists_are_names(write):
    listed = load_config(RunConfig, write("prompts: {classes: [zero, 1]}"))
    assert listed.prompts.classes == ["zero", "1"]
    mapped = load_config(RunConfig, write("prompts: {classes: {0: cat, 1: dog}}"))
    assert mapped.prompts.classes == {"0": "cat", "1": "dog"}


def test_a_file_that_is_not_text_is_a_user_error(tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        load_config(RunConfig, tmp_path / "run.yaml")


def test_a_missing_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="cannot read the configuration"):
        load_config(RunConfig, tmp_path / "absent.yaml")


_CAPTIONS = "kind: text-to-image\ncaptions: {names: [[a], [b]], templates: ['{}']}\n"
_DDPM = "kind: ddpm\nepochs: 1\n"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("epochs: 1", "kind: came nothing; allowed: text-to-image, ddpm, classifier"),
        ("kind: gan", "kind: came 'gan'; allowed"),
        (_CAPTIONS.replace("{}", "x"), r"exactly one \{\}"),
        (_CAPTIONS.replace("[b]", "[]"), "at least one name"),
        (_CAPTIONS + "network: {image_size: 30}", "multiple of 8"),
        (_CAPTIONS + "network: {unet_channels: [12]}", "multiples of 8"),
        (_CAPTIONS + "vae: {steps: 1, batch_size: 3}\ncluster: {workers: 4}", "vae.batch_size 3"),
        ("kind: ddpm", "epochs"),
        (_DDPM + "network: {image_size: 20}", "multiple of 8: the U-Net halves it 3 times"),
        (_DDPM + "network: {attention: [5]}", "names block 5; blocks are 1 to 4"),
        (_DDPM + "samples: {steps: 9}\nchain: {steps: 8}", "steps 9 is more than the chain's 8"),
        (_DDPM + "label_dropout: 0.1", "without classes there are none"),
        (_DDPM + "cluster: {workers: 200}", "optimiser.batch_size 128"),
        (_DDPM + "optimiser: {schedule: cosin}", "did you mean 'cosine'"),
        (_DDPM + "classes: [yes]", "classes"),
        ("kind: classifier\nepochs: 1\nclasses: [one]", "classes"),
    ],
)
def test_training_mistakes_are_named(write, text, word):
    with pytest.raises(UserError, match=word):
        load_training(write(text))
