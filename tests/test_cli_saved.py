"""The commands that ask saved rows, as users meet them."""

import json
import subprocess
import sys

import pytest

from tests.analysis.made_up_runs import write_run
from zsd_ray.cli import main
from zsd_ray.config.storage import StorageConfig
from zsd_ray.storage.store import Store

CONFIG = "configs/digits.yaml"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run of three digits with its raw scores."""
    path = str(tmp_path_factory.mktemp("digits") / "run")
    code = main(
        [
            "run", CONFIG, "--local", "--limit=3", f"--set=output.path={path}",
            "--set=output.raw_scores=true", "--set=tracking.mlflow=off",
            "--set=pruning={rule: none, draws: 6}",
        ]
    )  # fmt: skip
    assert code == 0
    return path


def refused(capsys, *arguments):
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("zsd-ray: error: ")
    return line


def test_rescore_and_compare_what_it_wrote(digits, capsys, tmp_path):
    capsys.readouterr()
    again = f"{tmp_path}/again"
    options = ["--weighting=simple", "--rule=li", "--set=pruning.keep=[2, 1]"]
    draws = ["--set=pruning.draws=[2, 6]", f"--output={again}"]
    assert main(["rescore", digits, *options, *draws]) == 0
    out = capsys.readouterr().out
    for words in ("before", "after", "60.0", "li (keep [2, 1], draws [2, 6])", again):
        assert words in out
    page = tmp_path / "page.html"
    assert main(["compare", digits, again, f"--html={page}"]) == 0
    out = capsys.readouterr().out
    assert "2 - 1" in out
    assert "run" in out
    assert page.read_text().count("<svg") == 1


def test_json_is_for_programs(digits, capsys):
    capsys.readouterr()
    assert main(["rescore", digits, "--set=pruning.draws=3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n_images"], found["n_beyond"], found["output"]) == (3, 0, None)
    assert found["after"]["evaluations_per_image"] == 30
    assert found["pruning"][1]["draws"] == 3
    assert main(["compare", digits, digits, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["label"] for run in found["runs"]] == ["run", "run"]
    assert found["pairs"][0]["p_value"] == 1.0


def test_bad_input_is_one_line_and_exit_code_2(digits, capsys, tmp_path):
    capsys.readouterr()
    other = write_run(tmp_path / "other", [("a", 0, 0, 1)])
    cases = [
        (["rescore", f"{tmp_path}/x"], f"there is no run at {tmp_path}/x"),
        (["rescore", other], "no raw scores"),
        (["rescore", digits, "--rule=lii"], "pruning.rule: came 'lii'"),
        (["rescore", digits, "--set=method.loss=l1"], "is in the saved scores"),
        (["rescore", digits, f"--output={digits}"], "there is something at"),
        (["rescore", digits, "--set=storage.endpoin=x"], "did you mean 'endpoint'"),
        (["compare", digits], "two runs or more"),
        (["compare", digits, other], "other classes"),
        (["compare", digits, digits, "--set=seed=1"], "storage.KEY=VALUE here"),
        (["compare", digits, digits, f"--html={tmp_path}/no/page.html"], "cannot be written"),
        (["rescore", digits, "--output="], "--output takes a file, a folder or a URL"),
        (["rescore", digits, "--output=://x"], "--output takes a file, a folder or a URL"),
        (["rescore", digits, f"--output={tmp_path}/\udcff"], "is no text in UTF-8"),
    ]
    for arguments, words in cases:
        assert words in refused(capsys, *arguments)
    assert not (tmp_path / "x").exists()


def test_an_output_on_an_object_store(s3, capsys):
    store = Store(StorageConfig(endpoint=s3.endpoint), retry_seconds=10)
    url = write_run(f"{s3.url}/one", [("a", 0, 0, 4), ("b", 1, 0, 6)], store=store)
    assert main(["compare", url, url, f"--set=storage.endpoint={s3.endpoint}"]) == 0
    assert "50.0%" in capsys.readouterr().out


def test_a_weighting_is_fitted_and_replayed(digits, capsys, tmp_path):
    capsys.readouterr()
    file = f"{tmp_path}/fitted.json"
    assert main(["fit", "standardised", digits, f"--output={file}"]) == 0
    out = capsys.readouterr().out
    for words in (
        "3 images (no labels), 18 draws",
        f"{{weighting: standardised, profile: {file}}}",
    ):
        assert words in out
    profile = f"--set=method.profile={file}"
    assert main(["rescore", digits, "--weighting=standardised", profile, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weighting"] == ["heuristic", "standardised"]
    assert main(["fit", "learned", digits, f"--output={file}", "--fit-share=0.9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["share"], found["path"]) == ("learned", 0.9, file)
    assert found["profile"]["fitted_on"]["share"] == 0.9
    line = refused(capsys, "fit", "learned", digits, "--fit-share=2")
    assert "between 0 and 1, but came 2" in line


def test_decisions_become_probabilities(digits, capsys, tmp_path):
    path = f"{tmp_path}/run"
    fast = ["--local", "--limit=24", "--set=tracking.mlflow=off"]
    rule = "--set=pruning={rule: none, draws: 2}"
    assert main(["run", CONFIG, *fast, rule, f"--set=output.path={path}"]) == 0
    capsys.readouterr()
    assert main(["calibrate", path, "--method=posterior", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["methods"]) == ["posterior"]
    assert found["n_fit"] + found["n_test"] == 24
    assert main(["calibrate", path, "--split=0.4"]) == 0
    out = capsys.readouterr().out
    for words in ("posterior", "temperature", "platt", "ECE", f"{path}/calibration.html"):
        assert words in out
    assert "3 labelled images" in refused(capsys, "calibrate", digits)


@pytest.mark.full
@pytest.mark.usefixtures("a_process")
def test_no_model_library_is_imported(digits):
    code = (
        "import sys\n"
        "from zsd_ray.cli import main\n"
        f"codes = [main(['rescore', {digits!r}, '--weighting=vdm']), "
        f"main(['compare', {digits!r}, {digits!r}])]\n"
        "heavy = {'torch', 'ray', 'diffusers', 'transformers', 'mlflow'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)), codes)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "HEAVY [] [0, 0]" in result.stdout


@pytest.mark.parametrize(("command", "expected"), [
    ("rescore", {
        "--help", "--weighting", "--rule", "--set", "--output", "--class-offset", "--json",
    }),
    ("compare", {"--help", "--by-id", "--html", "--set", "--json"}),
    ("calibrate", {"--help", "--method", "--split", "--set", "--json"}),
    ("fit", {"--help", "--output", "--fit-share", "--set", "--json"}),
])  # fmt: skip
def test_the_options_are_these(command, expected, capsys):
    """A frozen list: an option is a promise."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    words = capsys.readouterr().out.replace("[", " ").replace("]", " ").split()
    assert {word.strip(",") for word in words if word.startswith("--")} == expected
