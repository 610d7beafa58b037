"""`ray job submit` from a checkout, to a cluster that knows nothing of it; everything is on S3."""

import io
import json
import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from ray.job_submission import JobStatus, JobSubmissionClient

import zsd_ray
from tests.support import s3_server
from tests.support.digit_runs import PAPER
from tests.support.local_cluster import ROOT, SECONDS, wait_until
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.data.readers.digits import NAMES, Digits
from zsd_ray.results.output import Output
from zsd_ray.storage.store import Store

N_IMAGES = 30
ENDED = (JobStatus.FAILED, JobStatus.SUCCEEDED, JobStatus.STOPPED)
NUMBERS = (
    "label", "prediction", "top5", "mean_scores", "draws_per_class", "n_draws", "n_evaluations",
    "stop_reason", "error",
)  # fmt: skip


def tree(path, data, classes):
    return {
        "model": {"device": "cpu"},  # the nodes' GPUs are pretended
        "data": {"source": "parquet", "path": data},
        "prompts": {"classes": classes, "templates": ["a photo of the digit {}."]},
        "method": PAPER,
        "pruning": {"rule": "clark-jaini", "min_scores": 12, "max_scores": 60, "p_value": 0.01},
        "cluster": {"workers": 1, "gpus_per_worker": 1},
        "output": {"path": path, "flush_seconds": 0.01},
        "tracking": {"mlflow": "off"},
    }


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder with held-out digits as data sets on the hub have them, and their names."""
    folder = tmp_path_factory.mktemp("digits")
    source = Digits("test")
    rows = []
    for number in range(N_IMAGES):
        buffer = io.BytesIO()
        source.read(number).save(buffer, "PNG")
        image = {"bytes": buffer.getvalue(), "path": f"{number}.png"}
        rows.append({"image": image, "label": source.records[number].label})
    (folder / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "data" / "test.parquet", row_group_size=8)
    (folder / "names.txt").write_text("\n".join(NAMES))
    return folder


@pytest.fixture(scope="module")
def expected(digits, tmp_path_factory):
    """The rows of a run in this process, with everything on the disk."""
    path = str(tmp_path_factory.mktemp("local"))
    config = tree(path, str(digits / "data"), str(digits / "names.txt"))
    result = zsd_ray.run(parse_config(RunConfig, config), local=True)
    assert result.metrics["accuracy"] >= 0.9
    return rows(result.table)


def rows(table):
    found = {row["image_id"]: {key: row[key] for key in NUMBERS} for row in table.to_pylist()}
    assert len(found) == table.num_rows, "an image has two rows"
    return found


@pytest.fixture(scope="module")
def bucket(running_s3, digits):
    """The model, the data and the class names on S3."""
    bucket = s3_server.S3(running_s3)
    bucket.put_folder(ROOT / "zsd_ray" / "assets" / "digits", "model")
    bucket.put_folder(digits / "data", "data")
    names = (digits / "names.txt").read_bytes()
    bucket.client.put_object(Bucket=bucket.bucket, Key="names.txt", Body=names)
    return bucket


@pytest.fixture(scope="module")
def checkout(a_process, bucket, tmp_path_factory):
    """What git does not ignore, a run file, and a built-in model that is nowhere else."""
    folder = tmp_path_factory.mktemp("checkout")
    files = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():  # and not removed since the last commit
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    assets = folder / "zsd_ray" / "assets"
    shutil.copytree(assets / "digits", assets / "sent")
    config = tree(f"{bucket.url}/run", f"{bucket.url}/data", f"{bucket.url}/names.txt")
    config["model"]["path"] = f"{bucket.url}/model"
    config["storage"] = bucket.storage.model_dump()
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def cluster(a_cluster):
    with a_cluster("2") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def submit(cluster, checkout, tmp_path_factory):
    """`ray job submit OPTIONS -- python COMMAND`: its exit code and what it printed."""
    folder = tmp_path_factory.mktemp("submit")
    variables = s3_server.environment() | {
        "RAY_JOB_STOP_WAIT_TIME_S": str(SECONDS),  # 3 s, usually
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    (folder / "env.json").write_text(json.dumps({"env_vars": variables}))
    head = ["ray", "job", "submit", "--address", cluster.jobs, "--working-dir", str(checkout)]
    head += ["--runtime-env", str(folder / "env.json")]

    def submit(*command, options=()):
        return ray(cluster, *head[1:], *options, "--", "python", *command)

    return submit


def ray(cluster, *arguments):
    done = subprocess.run(
        ["ray", *arguments],
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stdout


def output_of(bucket, name):
    return Output(f"{bucket.url}/{name}", Store(bucket.storage))


def texts(bucket):
    """Everything in the bucket as text, by its key."""
    found = {}
    for key in bucket.keys():  # noqa: SIM118 - no dict
        content = bucket.client.get_object(Bucket=bucket.bucket, Key=key)["Body"].read()
        if key.endswith(".parquet"):
            content = str(pq.read_table(io.BytesIO(content)).to_pylist()).encode()
        found[key] = content.decode("latin-1")
    return found


def test_a_run_with_everything_on_s3_decides_as_a_local_one(submit, bucket, expected):
    code, log = submit("jobs/evaluate.py", "--config", "run.yaml")
    assert code == 0, log
    assert rows(output_of(bucket, "run").read_table("decisions")) == expected
    found = texts(bucket)
    record = json.loads(found["run/run.json"])
    assert (record["status"], record["n_done"]) == ("finished", N_IMAGES)
    assert "<svg" in found["run/report.html"]
    assert not [key for key in found if key.startswith("run/checkpoints/")]
    for text in [*found.values(), log]:
        assert s3_server.ACCESS_KEY not in text
        assert s3_server.SECRET_KEY not in text

    code, log = submit("jobs/evaluate.py", "--config", "run.yaml")  # and again
    assert code == 0, log
    after = texts(bucket)
    assert after.keys() == found.keys()
    changed = {key for key in after if after[key] != found[key]}
    assert not [key for key in changed if key.endswith(".parquet")]
    assert json.loads(after["run/run.json"])["totals"]["n_rows"] == record["totals"]["n_rows"]


@pytest.mark.full
def test_a_bad_configuration_is_one_line_and_a_failure(submit):
    evaluate = ("jobs/evaluate.py", "--config", "run.yaml", "--set=model.dtype=int3")
    train = (
        "jobs/train.py",
        "--config",
        "configs/training/text-to-image-digits.yaml",
        "--set=network.image_size=x",
    )
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda command: submit(*command), [evaluate, train])
    for (code, log), message in zip(results, ["dtype: came ", "size: came "], strict=True):
        assert code == 1
        assert "exit code 2" in log
        [line] = {line for line in log.splitlines() if line.startswith("zsd-ray: error: ")}
        assert message in line
        assert "Traceback" not in log


def test_a_stopped_job_goes_on_where_it_was(submit, cluster, bucket, expected):
    output = output_of(bucket, "stopped")
    command = ("jobs/evaluate.py", "--config", "run.yaml", f"--set=output.path={output.path}")
    # Known where the checkout was unpacked, and nowhere else.
    command += ("--set=model.path=builtin:sent", "--set=cluster.hang_seconds=3600")
    code, log = submit(*command, options=("--no-wait", "--submission-id", "stopped"))
    assert code == 0, log

    def has_rows():
        assert JobSubmissionClient(cluster.jobs).get_job_status("stopped") not in ENDED
        return output.read_table("decisions", ["image_id"]).num_rows

    wait_until(cluster.model_workers)
    [worker] = cluster.model_workers()  # asked before there are rows: the answer takes its time
    wait_until(has_rows)
    os.kill(worker.pid, signal.SIGSTOP)  # it is in the middle, however fast it was
    code, log = ray(cluster, "job", "stop", "--address", cluster.jobs, "stopped")
    assert code == 0, log
    record = output.read_run()
    assert record.status == "interrupted"
    assert 1 <= record.n_done < N_IMAGES
    code, log = ray(cluster, "job", "logs", "--address", cluster.jobs, "stopped")
    assert "zsd-ray: interrupted; run the same command again to resume" in log
    assert "Traceback" not in log
    wait_until(lambda: not cluster.model_workers())

    code, log = submit(*command)
    assert code == 0, log
    assert output.read_run().status == "finished"
    assert rows(output.read_table("decisions")) == expected
