import io
from dataclasses import replace

from rich.console import Console

from zsd_ray.reports.progress_bar import ProgressBar
from zsd_ray.results.progress import Progress

PROGRESS = Progress(
    n_images=2000, n_decided=1500, n_errors=0, n_labelled=1500, n_correct=1200, n_scored=900,
    evaluations_per_second=50.0, images_per_second=5.0, n_workers=2, seconds=300.0,
)  # fmt: skip


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def lines_of(terminal, progress=PROGRESS):
    """What is printed in 95 seconds of news."""
    clock, file = Clock(), io.StringIO()
    with ProgressBar(Console(file=file, force_terminal=terminal, width=40), clock) as bar:
        for _ in range(95):
            clock.now += 1
            bar.run(progress)
    return file.getvalue()


def test_a_log_gets_a_line_every_half_minute():
    line = (
        "images 1,500 of 2,000 | accuracy 80.0% [77.9%, 81.9%] | 50 evaluations/s | 2 workers | "
        "1:40 left"
    )
    assert lines_of(terminal=False).splitlines() == [line] * 3


def test_what_comes_before_a_run_is_named():
    (line, *_) = lines_of(terminal=False, progress=replace(PROGRESS, stage="tree-1")).splitlines()
    assert line.startswith("tree-1: images 1,500 of 2,000 | ")


def test_a_terminal_gets_the_bar_alone():
    assert "1,500 of 2,000" not in lines_of(terminal=True)
