from zsd_ray.reports.lines import aligned
from zsd_ray.reports.status_lines import status_rows
from zsd_ray.results.run_status import RunStatus

RUNNING = {
    "output": "s3://bucket/run", "status": "running", "silent": False, "n_images": 200,
    "n_decided": 199, "n_errors": 0, "accuracy": 0.98, "accuracy_low": 0.95,
    "accuracy_high": 0.99, "n_workers": 8, "evaluations_per_second": 12345.6,
    "images_per_second": 3.456, "seconds_left": 185.0, "started": "2026-11-22T19:23:11+00:00",
    "ended": None, "last_heard": "2026-11-22T19:40:00+00:00", "seconds_since": 3.2,
    "host": "head", "pid": 12, "session": "one", "report": None,
}  # fmt: skip


def text(**changes):
    return aligned(status_rows(RunStatus(**RUNNING | changes)))


def test_a_run_at_work():
    assert text() == (
        "run         s3://bucket/run\n"
        "status      running\n"
        "images      [#######################-] 199 of 200 (99%)\n"
        "accuracy    98.0%  95% interval [95.0%, 99.0%]\n"
        "speed       12,346 evaluations/s, 3.46 images/s\n"
        "workers     8\n"
        "time left   3:05\n"
        "started     2026-11-22 19:23:11 UTC\n"
        "last heard  3 s ago, from process 12 on head"
    )


def test_a_silent_run_says_what_to_do():
    silent = text(silent=True, seconds_since=75.4)
    assert "no sign of life for 75 s; the same command resumes it" in silent
    assert "last heard  1:15 ago" in silent


def test_a_run_that_has_ended_says_where_its_report_is():
    done = text(
        status="finished", n_decided=200, n_workers=None, seconds_left=None, n_errors=2,
        ended="2026-11-22T20:00:00+00:00", report="s3://bucket/run/report.html",
    )  # fmt: skip
    assert "200 of 200 (100%), 2 with errors" in done
    assert "ended     2026-11-22 20:00:00 UTC" in done
    assert "report    s3://bucket/run/report.html" in done
    assert "time left" not in done
    assert "last heard" not in done


def test_a_broken_run_says_what_to_do():
    assert "interrupted; the same command resumes it" in text(status="interrupted")
    assert "incomplete: some images have errors" in text(status="incomplete")


def test_before_anything_is_known():
    early = text(
        n_decided=0, accuracy=None, n_workers=None, evaluations_per_second=None,
        images_per_second=None, seconds_left=None, seconds_since=None,
    )  # fmt: skip
    assert "[------------------------] 0 of 200 (0%)" in early
    assert "accuracy" not in early
    assert "speed" not in early
