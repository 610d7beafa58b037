"""How commands end that fail: one line on stderr, and for what nobody foresaw a file."""

import errno
import subprocess
import sys
import tempfile

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError

from zsd_ray.cli import main
from zsd_ray.config.run import ClusterConfig
from zsd_ray.records.errors import RunBrokenError, StoreError, UserError
from zsd_ray.runtime.cluster import cluster


class PanicError(BaseException):
    """As libraries in Rust raise: no Exception."""


def from_worker(cause):
    """What `ray.get` raises for an error of another process."""
    raised = RayTaskError("run", "Traceback ...\nremote_line\n", cause)
    return raised.as_instanceof_cause()


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """The folder of temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def end(monkeypatch, capsys, logs):
    """Let a command fail with an error; returns its exit code, its line, and what was kept."""

    def end(error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr("zsd_ray.reports.dataset_lines.dataset_lines", fail)
        code = main(["datasets"])
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert line.startswith("zsd-ray: ")
        assert "Traceback" not in captured.out + captured.err
        (kept,) = [file.read_text() for file in logs.iterdir()] or [None]
        assert (str(logs) in line) == (kept is not None)
        return code, line, kept

    return end


UNEXPECTED = [
    KeyError("x"),
    RecursionError("too deep"),
    AssertionError(),
    FileNotFoundError(errno.ENOENT, "No such file", "/nowhere"),
    PanicError("a panic of Rust"),
    UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed"),
    GeneratorExit(),
]


@pytest.mark.parametrize("error", UNEXPECTED, ids=lambda error: type(error).__name__)
def test_what_nobody_foresaw_leaves_its_traceback_in_a_file(end, error):
    code, line, kept = end(error)
    assert code == 70
    assert f"unexpected {type(error).__name__}" in line
    assert "Traceback" in kept
    assert "in fail" in kept
    assert "Python 3" in kept


FORESEEN = [
    (UserError("seed: came 'x'"), 2, "seed"),
    (UserError("two\nlines \x1b[31m of\ta name"), 2, r"two lines \x1b[31m of a name"),
    (UserError("x" * 1_000_000), 2, "xxx ... xxx"),
    (UserError("cannot read https://me:pw1@host/x"), 2, "https://***@host/x"),
    (RunBrokenError("every worker is lost"), 1, "every worker is lost"),
    (StoreError("no answer"), 1, "run the same command again"),
    (KeyboardInterrupt(), 130, "run the same command again"),
    (OSError(errno.ENOSPC, "No space left on device", "/out/x"), 1, "/out/x: No space left"),
    (OSError(errno.EMFILE, "Too many open files"), 1, "ulimit -n"),
    (PermissionError(errno.EACCES, "Permission denied", "/out"), 1, "/out: Permission denied"),
    (MemoryError(), 1, "memory ran out"),
]


@pytest.mark.parametrize(("error", "code", "says"), FORESEEN)
def test_what_was_foreseen_is_one_line_and_no_file(end, error, code, says):
    got, line, kept = end(error)
    assert (got, kept) == (code, None)
    assert says in line
    assert "pw1" not in line
    assert len(line) < 2100


def test_a_broken_run_keeps_the_traceback_of_what_broke_it(end):
    error = RunBrokenError("every worker is lost (KeyError: 'x')")
    error.__cause__ = from_worker(KeyError("x"))
    code, line, kept = end(error)
    assert code == 1
    assert "every worker is lost" in line
    assert "remote_line" in kept


def test_secrets_of_a_traceback_are_hidden(end):
    _, line, kept = end(KeyError("https://me:pw1@host/x"))
    assert "pw1" not in line + kept


def test_where_no_file_can_be_written_the_traceback_is_printed(monkeypatch, capsys):
    def fail(*_, **__):
        raise KeyError("x")

    monkeypatch.setattr("zsd_ray.reports.dataset_lines.dataset_lines", fail)
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    assert main(["datasets"]) == 70
    err = capsys.readouterr().err
    assert "in fail" in err
    assert err.splitlines()[-1].startswith("zsd-ray: error: unexpected KeyError: 'x'")


# ---- what other processes of a Ray cluster raise


def inside_a_cluster(monkeypatch, error):
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    with cluster(ClusterConfig(), "cpu"):
        raise error


@pytest.mark.parametrize("cause", [KeyError("x"), UserError("seed"), StoreError("away")])
def test_what_a_worker_raised_is_raised_as_it_was_there(monkeypatch, end, cause):
    with pytest.raises(type(cause)) as caught:
        inside_a_cluster(monkeypatch, from_worker(cause))
    assert caught.value is cause
    code, _, kept = end(caught.value)
    assert code == {KeyError: 70, UserError: 2, StoreError: 1}[type(cause)]
    assert kept is None or "remote_line" in kept


@pytest.mark.parametrize(
    "error",
    [ActorDiedError(), OutOfMemoryError("killed"), from_worker(ActorDiedError())],
    ids=["actor", "memory", "actor-of-worker"],
)
def test_a_ray_that_fails_breaks_the_run(monkeypatch, error):
    with pytest.raises(RunBrokenError, match="run the same command again"):
        inside_a_cluster(monkeypatch, error)


def test_an_error_that_could_not_travel_keeps_its_text(monkeypatch, end):
    class LocalError(Exception):
        def __reduce__(self):
            raise TypeError("cannot be pickled")

    with pytest.raises(RayTaskError) as caught:
        inside_a_cluster(monkeypatch, from_worker(LocalError("x")))
    code, _, kept = end(caught.value)
    assert code == 70
    assert "remote_line" in kept


# ---- a terminal that does not take what is printed


def shell(line):
    line = line.replace("zsd-ray", f"{sys.executable} -m zsd_ray.cli")
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("a_process")
def test_a_full_disk_under_stdout_is_one_line():
    result = shell("zsd-ray datasets > /dev/full")
    assert result.returncode == 1
    assert result.stderr.startswith("zsd-ray: error: No space left on device")
    assert result.stderr.count("\n") == 1


def test_options_are_written_whole(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["plan", "configs/digits.yaml", "--lim", "3"])
    assert caught.value.code == 2
    assert "--lim" in capsys.readouterr().err
