"""The command line as users meet it: in a process of its own, or called in this one."""

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.support.images import write_folder
from zsd_ray.cli import main
from zsd_ray.records.errors import RunBrokenError

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


@pytest.mark.usefixtures("a_process")
def test_help_lists_the_commands_and_exit_codes():
    result = run("--help")
    assert result.returncode == 0
    for word in ("run", "plan", "status", "train", "exit codes", "bad input"):
        assert word in result.stdout


@pytest.mark.usefixtures("a_process")
@pytest.mark.parametrize("command", ["models", "models --json"])
def test_a_reader_that_goes_is_no_error(command):
    line = f"set -o pipefail; {sys.executable} -m zsd_ray.cli {command} | head -1"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1


@pytest.mark.usefixtures("a_process")
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


@pytest.mark.usefixtures("a_process")
def test_only_workers_import_torch():
    """It takes seconds of a core, in each of a run's processes."""
    runtime = ("runtime.driver", "runtime.scheduler_actor", "runtime.sink")
    others = ("planning.plan", "evaluation.session", *runtime)
    code = (
        "import sys\n"
        f"for name in {others!r}: __import__(f'zsd_ray.{{name}}')\n"
        "print('TORCH', 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "TORCH False" in result.stdout


@pytest.mark.full
@pytest.mark.usefixtures("a_process")
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
    for word in ("3 of 3", "accuracy", "evaluations per image", "decisions", "report"):
        assert word in out
    assert "\x1b" not in out  # no terminal: no colours, no progress bar
    assert (tmp_path / "run" / "report.html").is_file()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["config"]["data"]["limit"] == 3


@pytest.mark.full
@pytest.mark.usefixtures("a_process")
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


@pytest.mark.full
@pytest.mark.usefixtures("a_process")
def test_a_cluster_that_does_not_answer_is_bad_input(tmp_path):
    for address in ("127.0.0.1:1", "nonsense"):
        result = run(
            "run", CONFIG, f"--set=output.path={tmp_path}/run", f"--set=cluster.address={address}"
        )
        assert result.returncode == 2, result.stderr
        (line,) = result.stderr.strip().splitlines()
        assert f"cluster.address {address} does not answer" in line


@pytest.mark.usefixtures("private_ray")
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
    assert "--fresh" in line


def test_fresh_starts_over_in_a_new_place_and_says_which(capsys, tmp_path):
    first = ["run", CONFIG, "--limit=1", f"--set=output.path={tmp_path}/run", *FAST]
    assert main([*first, "--fresh"]) == 0  # nothing is there yet
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main([*first, "--fresh"]) == 0
    assert capsys.readouterr().out.startswith(f"output     {tmp_path}/run-2\n")
    assert main([*first, "--fresh", "--set=seed=3"]) == 0
    record = json.loads((tmp_path / "run-3" / "run.json").read_text())
    assert (record["n_done"], record["seed"]) == (1, 3)
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-2", "run-3"]


def test_a_corrupt_image_gives_exit_code_3_and_says_how_many(tiny_model, capsys, tmp_path):
    data = write_folder(tmp_path / "data", bad=("cat/1.png",))
    code = main(
        [
            "run", CONFIG, *FAST, f"--set=output.path={tmp_path}/run",
            f"--set=model.path={tiny_model}", "--set=prompts.classes=null", "--limit=6",
            "--set=prompts.templates=['a {}']",
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

    monkeypatch.setattr("zsd_ray.evaluation.evaluate.run", interrupt)
    assert main(["run", CONFIG, f"--set=output.path={tmp_path}/run"]) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_a_run_that_breaks_off_gives_exit_code_1(monkeypatch, capsys, tmp_path):
    def fail(*_, **__):
        raise RunBrokenError("every worker is lost (out of memory)")

    monkeypatch.setattr("zsd_ray.evaluation.evaluate.run", fail)
    assert main(["run", CONFIG, f"--set=output.path={tmp_path}/run"]) == 1
    assert "every worker is lost" in capsys.readouterr().err


def test_a_fault_of_ours_gives_exit_code_70_and_a_run_that_failed(monkeypatch, capsys, tmp_path):
    def fail(*_, **__):
        raise KeyError("surprise")

    monkeypatch.setattr("zsd_ray.evaluation.local.run_local", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    out = tmp_path / "run"
    assert main(["run", CONFIG, "--limit=1", f"--set=output.path={out}", *FAST]) == 70
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("zsd-ray: error: unexpected KeyError: 'surprise'")
    (log,) = tmp_path.glob("zsd-ray-error-*.log")
    assert str(log) in line
    assert "in _work" in log.read_text()
    assert json.loads((out / "run.json").read_text())["status"] == "failed"


# ---- status


def status(output, *arguments):
    """What another shell sees."""
    result = run("status", str(output), "--json", *arguments)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_status_of_a_finished_run(capsys, tmp_path):
    assert main(["run", CONFIG, "--limit=3", f"--set=output.path={tmp_path}/run", *FAST]) == 0
    capsys.readouterr()
    assert main(["status", f"{tmp_path}/run"]) == 0
    out = capsys.readouterr().out
    for line in ("status    finished", "3 of 3 (100%)", f"report    {tmp_path}/run/report.html"):
        assert line in out
    beat = json.loads((tmp_path / "run" / "progress.json").read_text())
    assert (beat["status"], beat["progress"]["n_decided"]) == ("finished", 3)


@pytest.mark.usefixtures("a_process")
def test_status_of_a_run_on_an_object_store(s3, tmp_path):
    where = [f"--set=output.path={s3.url}/run", f"--set=storage.endpoint={s3.endpoint}"]
    assert run("run", CONFIG, "--limit=1", *FAST, *where).returncode == 0
    seen = status(f"{s3.url}/run", f"--set=storage.endpoint={s3.endpoint}")
    assert (seen["status"], seen["n_decided"]) == ("finished", 1)
    assert seen["report"] == f"{s3.url}/run/report.html"
    variables = os.environ | {"AWS_ENDPOINT_URL": s3.endpoint}
    command = [sys.executable, "-m", "zsd_ray.cli", "status", f"{s3.url}/nothing"]
    result = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"there is no run at {s3.url}/nothing" in result.stderr


def test_status_of_nothing_is_bad_input(capsys, tmp_path):
    for arguments, word in [
        ([f"{tmp_path}/x"], f"there is no run at {tmp_path}/x"),
        ([f"{tmp_path}/x", "--set=seed=3"], "storage.KEY=VALUE here, but came 'seed=3'"),
        ([f"{tmp_path}/x", "--set=storage.endpoin=x"], "did you mean 'endpoint'"),
        (["s3://b/x", "--set=storage.retry_seconds=soon"], "retry_seconds"),
    ]:
        assert main(["status", *arguments]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert word in line


@pytest.mark.full
@pytest.mark.usefixtures("a_process")
def test_a_second_driver_is_refused_and_a_killed_one_is_not_waited_for(capsys, tmp_path):
    command = [CONFIG, "--local", f"--set=output.path={tmp_path}/run", "--set=tracking.mlflow=off"]
    rules = ["--set=output.flush_seconds=0.01", "--set=pruning={rule: none, draws: 50}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "zsd_ray.cli", "run", *command, *rules], stdout=subprocess.PIPE
    )
    try:
        while not (tmp_path / "run" / "decisions").is_dir():
            assert process.poll() is None
            time.sleep(0.1)
        seen = status(tmp_path / "run")
        assert (seen["status"], seen["pid"], seen["n_images"]) == ("running", process.pid, 200)
        assert main(["run", *command, *rules, "--limit=1"]) == 2
        captured = capsys.readouterr()
        assert f"is being written by process {process.pid} on {seen['host']}" in captured.err
        assert "looking for up to 12 s" in captured.out
    finally:
        process.kill()
        process.communicate()
    assert main(["run", *command, *rules, "--limit=1"]) == 0
    assert "looking" not in capsys.readouterr().out
    assert status(tmp_path / "run")["status"] == "finished"


# ---- plan


def test_train_from_the_command_line(capsys, tmp_path):
    code = main(
        [
            "train", "configs/training/text-to-image-digits.yaml", "--local",
            f"--set=output.path={tmp_path}/t", "--set=samples.images=0",
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


@pytest.mark.parametrize(("command", "expected"), [
    ("run", {"--help", "--set", "--limit", "--preset", "--local", "--fresh"}),
    ("plan", {"--help", "--set", "--limit", "--preset", "--local", "--pilot", "--price", "--json"}),
    ("status", {"--help", "--set", "--json"}),
    ("train", {"--help", "--set", "--local"}),
    ("generate", {"--help", "--set", "--local", "--json"}),
    ("fid", {"--help", "--set", "--local", "--json"}),
])  # fmt: skip
def test_the_options_are_these(command, expected, capsys):
    """A frozen list: an option is a promise."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    words = capsys.readouterr().out.replace("[", " ").replace("]", " ").split()
    assert {word.strip(",") for word in words if word.startswith("--")} == expected
