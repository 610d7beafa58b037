"""What a comparison and a replay show."""

from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from zsd_ray.analysis.comparison import ComparedPair, ComparedRun, Comparison, Figures, Rescored
from zsd_ray.reports.comparison_page import (
    accuracy_against_cost,
    comparison_lines,
    render_comparison,
)
from zsd_ray.reports.rescored import rescored_lines

CLARK = {"rule": "clark-jaini", "p_value": 0.002, "indifference": None}


def figures(images=500, share=0.9, cost=223.4):
    right = round(images * share)
    return Figures(images, images, right, share, share - 0.03, share + 0.02, cost)


def run(label, found, **keys):
    return ComparedRun(
        name=f"/runs/{label}",
        label=label,
        status="finished",
        model="builtin:digits",
        weighting="heuristic",
        pruning=CLARK,
        n_images=keys.pop("n_images", 500),
        figures=found,
        seconds=keys.pop("seconds", 61.2),
        pilot_evaluations=keys.pop("pilot_evaluations", 0),
    )


def pair(**keys):
    found = ComparedPair(0, 1, 500, 500, 25, 16, -0.018, -0.044, 0.006, 0.2111, 0.864, 0.55)
    return replace(found, **keys)


TWO = Comparison((run("a", figures()), run("<b>", figures(share=0.882, cost=122.9))), (pair(),))


def test_the_tables_are_aligned_and_say_it_all():
    lines = comparison_lines(TWO).split("\n")
    assert lines[0].split("  ")[0] == ""
    assert lines[1].startswith("1  a    500     90.0% [87.0%, 92.0%]  223.4")
    assert lines[1].endswith("builtin:digits, heuristic, clark-jaini (p_value 0.002)")
    assert lines[0].index("accuracy") == lines[1].index("90.0%") == lines[2].index("88.2%")
    expected = ["2 - 1", "500", "-1.8% [-4.4%, +0.6%]", "0.21", "16 and 25", "86.4%", "x 0.55"]
    cells = [cell.strip() for cell in lines[5].split("  ") if cell.strip()]
    assert cells == expected
    assert len(lines) == 6  # no note


def test_what_must_be_known_is_noted():
    partial = run("a", figures(images=400), pilot_evaluations=12_800, seconds=None)
    found = Comparison((partial, TWO.runs[1]), (pair(only_first=4, only_second=5), pair()))
    text = comparison_lines(found)
    assert "not of all their images: 1;" in text
    assert "1 took 12,800 evaluations more, for the pilot" in text
    assert "less than 10 images are right alone" in text
    assert "not corrected for 2 pairs" in text
    assert "  -  " in text  # no seconds


def test_without_labels_there_are_dashes():
    nothing = replace(figures(), labelled=0, accuracy=None, accuracy_low=None, accuracy_high=None)
    unknown = pair(
        labelled=0, difference=None, difference_low=None, difference_high=None, p_value=None
    )
    found = Comparison((run("a", nothing), run("b", nothing)), (unknown,))
    assert comparison_lines(found).split("\n")[5].split() == [
        "2", "-", "1", "500", "-", "-", "16", "and", "25", "86.4%", "x", "0.55",
    ]  # fmt: skip
    assert "<svg" not in render_comparison(found)


class Texts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.cells = []
        self.tags = []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        if data.strip():
            self.cells.append(data.strip())


def test_the_page_holds_both_tables_and_the_figure_and_escapes_names():
    page = render_comparison(TWO)
    assert "<b>" not in page
    texts = Texts()
    texts.feed(page)
    assert texts.tags.count("table") == 2
    assert texts.tags.count("svg") == 1
    for text in ("90.0% [87.0%, 92.0%]", "-1.8% [-4.4%, +0.6%]", "16 and 25", "<b>"):
        assert text in texts.cells
    assert '<td class="number">16 and 25</td>' in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_figure_shows_every_run_and_its_interval():
    figure = accuracy_against_cost(TWO.runs)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    points = axes.containers[0][0]
    assert points.get_xdata().tolist() == [223.4, 122.9]
    assert points.get_ydata().tolist() == [0.9, 0.882]
    low, high = axes.get_ylim()
    assert low < 0.852
    assert high > 0.92
    figure.draw_without_rendering()
    ticks = [tick.get_text() for tick in axes.get_yticklabels()]
    assert "86%" in ticks
    assert "90%" in ticks
    assert sorted(text.get_text() for text in axes.texts) == ["<b>", "a"]


@pytest.mark.parametrize("n", [1, 25])
def test_names_of_runs_do_not_lie_on_each_other(n):
    same = [run(f"run {i}", figures(share=0.9)) for i in range(n)]
    figure = accuracy_against_cost(same)
    places = sorted(text.get_position()[1] for text in figure.axes[0].texts)
    assert all(0 <= place <= 1 for place in places)
    assert all(b - a > 0.9 / n - 0.04 for a, b in pairwise(places))


def rescored(**keys):
    found = Rescored(
        run="/runs/a",
        weighting=("heuristic", "simple"),
        pruning=({"rule": "none", "draws": 60}, CLARK),
        n_images=500,
        n_errors=0,
        n_left_out=0,
        n_beyond=0,
        n_saved_draws=60,
        before=figures(cost=600.0),
        same=figures(cost=600.0),
        after=figures(share=0.898, cost=158.0),
        n_agree=495,
        accuracy_least=0.898,
        accuracy_most=0.898,
        seconds=1.234,
        output=None,
    )
    return replace(found, **keys)


def test_a_replay_shows_before_and_after():
    lines = rescored_lines(rescored()).split("\n")
    assert lines[1].split()[:2] == ["before", "500"]
    assert lines[2].split()[:2] == ["after", "500"]
    assert lines[1].endswith("heuristic  none (draws 60)")
    assert lines[2].endswith("158.0                  simple     clark-jaini (p_value 0.002)")
    assert lines[4] == "495 of 500 images decided as before (99.0%)"
    assert lines[5] == "replayed in 1.2 s"
    assert len(lines) == 6


def test_a_replay_says_what_is_beyond_the_scores():
    found = rescored(
        n_beyond=7, after=figures(493), same=figures(493, cost=590.0), accuracy_least=0.886,
        accuracy_most=0.9, n_errors=1, n_left_out=20, output="/runs/b",
    )  # fmt: skip
    text = rescored_lines(found)
    assert text.split("\n")[2].startswith("the same images  493")
    assert "7 images would need scores that were not saved (an image has up to 60 draws" in text
    assert "with them the accuracy lies between 88.6% and 90.0%" in text
    assert "20 other images left out" in text
    assert "1 image could not be classified by the run itself" in text
    assert "decisions /runs/b/decisions/*.parquet" in text
    nothing = rescored(n_beyond=500, after=Figures(0, 0, 0, None, None, None, None), n_agree=0)
    assert "decided as before" not in rescored_lines(nothing)
