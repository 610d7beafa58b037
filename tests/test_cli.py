"""The command line as users meet it: in a process of its own, or called in this one."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.images import write_folder
from zsd_ray.cli import main
from zsd_ray.spec.errors import RunBrokenError

CONFIG = "configs/digits.yaml"
FAST = [
    "--local",
    "--set=tracking.mlflow=off",
    "--set=pruning={rule: none, draws: 2}",
]


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "zsd_ray.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_help_lists_the_commands_and_exit_codes():
    result = run("--help")
    assert result.returncode == 0
    for word in ("run", "train", "exit codes", "bad input"):
        assert word in result.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from zsd_ray.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'mlflow', 'pyarrow', 'numpy', 'scipy', 'pydantic', 'rich'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "HEAVY []" in result.stdout


def test_local_never_imports_ray(tmp_path):
    code = (
        "import sys\n"
        "from zsd_ray.cli import main\n"
        f"code = main(['run', {CONFIG!r}, '--limit=1', '--set=output.path={tmp_path}/run', "
        f"*{FAST!r}])\n"
        "print('RAY', 'ray' in sys.modules, code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "RAY False 0" in result.stdout


def test_a_run_prints_its_table_and_where_everything_lies(tmp_path, capsys):
    code = main(["run", CONFIG, "--limit=3", f"--set=output.path={tmp_path}/run", *FAST])
    out = capsys.readouterr().out
    assert code == 0
    for word in ("3 of 3", "accuracy", "evaluations an image", "decisions", "report"):
        assert word in out
    assert "\x1b" not in out  # no terminal: no colours, no progress bar
    assert (tmp_path / "run" / "report.html").is_file()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["config"]["data"]["limit"] == 3


def test_the_progress_bar_moves_on_a_terminal(tmp_path):
    """Under a real pseudo-terminal: images done, accuracy with its interval, rate, time left."""
    parent, child = pty.openpty()
    command = [
        sys.executable, "-m", "zsd_ray.cli", "run", CONFIG, "--limit=40",
        f"--set=output.path={tmp_path}/run", *FAST,
    ]  # fmt: skip
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "140"}
    process = subprocess.Popen(command, stdout=child, stderr=child, env=environment)
    os.close(child)
    seen = b""
    try:
        while chunk := os.read(parent, 4096):
            seen += chunk
    except OSError:  # Linux says so when the other end closes
        pass
    assert process.wait(120) == 0
    text = seen.decode()
    for word in ("/40", "accuracy", "evaluations/s", "left", "starting"):
        assert word in text


def bad(capsys, *arguments):
    """Run and expect exit code 2 with one line that is no traceback."""
    code = main(["run", CONFIG, *FAST, *arguments])
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("zsd-ray: error: ")
    return line


def test_bad_input_is_one_line_and_exit_code_2(capsys, tmp_path):
    out = f"--set=output.path={tmp_path}/run"
    empty = tmp_path / "empty"
    empty.mkdir()
    cases = [
        (["--set=seed=x"], "seed"),
        (["--set=modle.path=x"], "did you mean 'model'"),
        (["--limit=0"], "data.limit"),
        (["--set=model.path=/no/such/model"], "/no/such/model is not a folder"),
        (["--set=data={source: folder, path: /no/such/data}"], "/no/such/data"),
        ([f"--set=data={{source: folder, path: {empty}}}"], "empty"),
        (["--set=data={source: parquet, path: /no/such.parquet}"], "no/such.parquet"),
        (["--set=prompts.classes=[cat, dog]"], "classes"),
        (["--set=prompts.classes=/no/classes.txt"], "classes.txt"),
        (["--set=output.path=nosuchscheme://x"], "nosuchscheme"),
        ([f"--set=output.path={CONFIG}/run"], CONFIG),
    ]
    for arguments, word in cases:
        assert word in bad(capsys, out, *arguments)
    assert not (tmp_path / "run").exists()  # nothing was started or written


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_bad_input(capsys, tmp_path):
    out = f"--set=output.path={tmp_path}/run"
    assert "no CUDA device" in bad(capsys, out, "--set=model.device=cuda")


def test_a_cluster_that_does_not_answer_is_bad_input(tmp_path):
    for address in ("127.0.0.1:1", "nonsense"):
        result = run(
            "run", CONFIG, f"--set=output.path={tmp_path}/run", f"--set=cluster.address={address}"
        )
        assert result.returncode == 2, result.stderr
        (line,) = result.stderr.strip().splitlines()
        assert f"cluster.address {address} does not answer" in line


def test_more_gpus_than_there_are_is_bad_input(tmp_path):
    result = run(
        "run", CONFIG, f"--set=output.path={tmp_path}/x", "--set=cluster.gpus_per_worker=64"
    )
    assert result.returncode == 2
    assert "need 128 GPUs" in result.stderr


def test_an_output_of_another_config_is_refused(capsys, tmp_path):
    out = f"--set=output.path={tmp_path}/run"
    assert main(["run", CONFIG, "--limit=1", out, *FAST]) == 0
    capsys.readouterr()
    line = bad(capsys, out, "--limit=1", "--set=seed=3")
    assert "belongs to another run" in line
    assert "seed was 0, now 3" in line


def test_a_corrupt_image_gives_exit_code_3_and_says_how_many(tiny_model, capsys, tmp_path):
    data = write_folder(tmp_path / "data", bad=("cat/1.png",))
    code = main(
        [
            "run", CONFIG, *FAST, f"--set=output.path={tmp_path}/run",
            f"--set=model.path={tiny_model}", "--set=prompts.classes=null", "--limit=6",
            f"--set=data={{source: folder, path: {data}}}",
        ]
    )  # fmt: skip
    captured = capsys.readouterr()
    assert code == 3
    assert "5 of 6 images" in captured.err
    assert "Traceback" not in captured.err


def test_an_interrupt_gives_exit_code_130(monkeypatch, capsys, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("zsd_ray.api.run", interrupt)
    assert main(["run", CONFIG, f"--set=output.path={tmp_path}/run"]) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_a_run_that_breaks_off_gives_exit_code_1(monkeypatch, capsys, tmp_path):
    def fail(*_, **__):
        raise RunBrokenError("every worker is lost (out of memory)")

    monkeypatch.setattr("zsd_ray.api.run", fail)
    assert main(["run", CONFIG, f"--set=output.path={tmp_path}/run"]) == 1
    assert "every worker is lost" in capsys.readouterr().err


def test_train_from_the_command_line(capsys, tmp_path):
    code = main(
        [
            "train", "configs/train-digits.yaml", f"--set=output.path={tmp_path}/t",
            "--set=vae.steps=1", "--set=denoiser.steps=1", "--set=tracking.mlflow=off",
            "--set=network.vae_channels=[8, 8]", "--set=network.unet_channels=[8, 32]",
        ]
    )  # fmt: skip
    assert code == 0
    assert f"{tmp_path}/t/model" in capsys.readouterr().out
    assert Path(tmp_path, "t", "model", "model_index.json").is_file()


@pytest.mark.parametrize("arguments", [[], ["run"], ["nothing"], ["run", "x", "--frobnicate"]])
def test_a_wrong_call_gives_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_the_options_are_these():
    """A frozen list: an option is a promise."""
    result = run("run", "--help")
    options = {word.strip(",") for word in result.stdout.split() if word.startswith("--")}
    assert options == {"--help", "--set", "--limit", "--local"}
