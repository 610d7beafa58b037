"""The page is whole, safe and right, for every kind of run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.hostile import pictures
from zsd_ray.data.pictures.decoding import decode
from zsd_ray.reports.columns import Outcomes, choose_traces
from zsd_ray.reports.html import data_uri, pictures_wanted, render_report
from zsd_ray.results.rows.schema import DECISIONS, SCORES, decisions_table, scores_table
from zsd_ray.stats.intervals import wilson

VOID = {"meta", "img", "br", "hr", "link", "input"}
HOSTILE = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Parses a page; `open` must be empty in the end."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def render(simulated: Any) -> str:
    return render_report(simulated.run, simulated.decisions, simulated.draws, simulated.pictures)


def check_safe(html: str) -> Page:
    page = Page(html)
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "xlink:href", "srcset", "action"}:
                assert value is not None
                assert value.startswith(("data:image/", "#"))
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    assert len(page.ids) == len(set(page.ids))
    return page


def test_the_page_of_a_finished_run(simulated: Any) -> None:
    page = check_safe(render(simulated))
    right = sum(bool(row.correct) for row in simulated.rows)
    low, high = wilson(right, 120)
    mean = np.mean([row.n_evaluations for row in simulated.rows])
    assert f"{100 * right / 120:.1f}%" in page.text
    assert f"95% interval {100 * low:.1f} to {100 * high:.1f}%" in page.text
    assert f"{right} of 120 images" in page.text
    assert f"evaluations per image {mean:,.0f}" in page.text
    assert "role" not in {name for tag, names in page.tags if tag == "p" for name in names}
    assert page.count("svg") == 5 + 6
    for words in (
        "noise levels",
        "of the draws kept for this page",
        "mean per class",
        "worst class",
    ):
        assert words in page.text
    assert f"identity {simulated.run.identity}" in page.text
    assert "p_value: 0.002" in page.text
    assert "torch 2.13.0" in page.text
    assert "Errors" not in page.text


def test_every_wrong_prediction_has_a_row(simulated: Any) -> None:
    page = Page(render(simulated))
    wrong = [row for row in simulated.rows if row.correct is False]
    assert 0 < len(wrong) <= 20
    after = page.text.split("Wrong predictions")[1]
    for row in wrong:
        names = [simulated.run.classes[k] for k in (row.label, row.prediction)]
        assert f"{row.image_id} {' '.join(names)}" in re.sub(r"\s+", " ", after)


@pytest.mark.full
def test_the_page_does_not_depend_on_the_order_of_rows(simulated: Any) -> None:
    shuffled = decisions_table(simulated.rows[::-1])
    again = render_report(simulated.run, shuffled, simulated.draws, simulated.pictures)
    assert again == render(simulated)


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("running", "has not ended"),
        ("interrupted", "was interrupted"),
        ("incomplete", "is incomplete"),
        ("failed", "failed"),
    ],
)
def test_an_unfinished_run_says_how_far_it_came(
    simulate: Callable[..., Any], status: Any, words: str
) -> None:
    run = simulate(6, n_traces=0)
    run.run = replace(run.run, status=status, n_images=40, totals={}, ended=None)
    page = check_safe(render(run))
    assert words in page.text
    assert "6 of 40 images have a row" in page.text


def test_errors_are_listed_and_kept_out_of_the_accuracy(simulate: Callable[..., Any]) -> None:
    run = simulate(40, n_traces=0, n_errors=25)
    page = check_safe(render(run))
    assert "25 images could not be classified" in page.text
    assert "of 15 images" in page.text
    assert page.text.count("truncated after") == 20
    assert "The first 20 of 25 by image id." in page.text


def test_unlabelled_images_have_no_accuracy(simulate: Callable[..., Any]) -> None:
    page = check_safe(render(simulate(12, labelled=False, n_traces=3)))
    assert "accuracy" not in page.text.lower()
    assert "Confusion" not in page.text
    assert "true class" not in page.text.split("orange the true class where it is another")[1]
    assert page.count("svg") == 2 + 3


def test_some_labels_are_enough_for_their_accuracy(simulate: Callable[..., Any]) -> None:
    run = simulate(12, n_traces=0)
    run.rows[:8] = [replace(row, label=None) for row in run.rows[:8]]
    assert "of 4 images" in Page(render(run)).text


def test_no_decision_at_all(simulate: Callable[..., Any]) -> None:
    run = simulate(0)
    empty = replace(run.run, status="failed", n_images=500, totals={}, versions={}, config={})
    html = render_report(empty, DECISIONS.empty_table(), SCORES.empty_table(), {})
    page = check_safe(html)
    assert "No image has been classified yet." in page.text
    assert "0 of 500 images have a row" in page.text
    assert page.count("svg") == 0


def test_errors_alone(simulate: Callable[..., Any]) -> None:
    page = check_safe(render(simulate(3, n_errors=3)))
    assert "3 images could not be classified" in page.text
    assert page.count("svg") == 0


def test_one_image(simulate: Callable[..., Any]) -> None:
    page = check_safe(render(simulate(1)))
    assert "1 of 1" in page.text
    assert page.count("svg") == 4 + 1


@pytest.mark.full
def test_a_thousand_classes(simulate: Callable[..., Any]) -> None:
    classes = tuple(f"class {k}" for k in range(1000))
    html = render(simulate(50, classes, n_traces=2, max_scores=40))
    page = check_safe(html)
    assert "Most confused pairs" in page.text
    assert "The 20 best and the 20 worst" in page.text
    assert "Confusion matrix" not in page.text
    assert len(html) < 3_000_000


def test_thirty_classes_have_a_matrix_without_counts(simulate: Callable[..., Any]) -> None:
    page = check_safe(render(simulate(60, tuple(f"c{k}" for k in range(30)), n_traces=0)))
    assert "Confusion matrix" in page.text
    assert "numbers count images" not in page.text


def test_untrusted_text_is_shown_and_never_run(simulate: Callable[..., Any]) -> None:
    classes = ("$x_{", HOSTILE, "a & b", '" onload="x', "{{ 7 * 7 }}", "猫", "é", "h", "i", "j")
    run = simulate(60, classes, n_traces=60, n_errors=1, max_scores=120)
    run.rows = [
        replace(row, image_id=f"{HOSTILE}{i:03d}", source=HOSTILE, error=row.error and HOSTILE)
        for i, row in enumerate(run.rows)
    ]
    run.run = replace(run.run, config={"model": {"path": HOSTILE}}, versions={HOSTILE: HOSTILE})
    html = render(run)
    page = check_safe(html)
    assert "<script" not in html
    assert page.text.count(HOSTILE) > 10
    assert "$x_{" in page.text
    assert "{{ 7 * 7 }}" in page.text


def test_long_error_messages_are_cut(simulate: Callable[..., Any]) -> None:
    run = simulate(2, n_errors=1, n_traces=0)
    run.rows[1] = replace(run.rows[1], error="x" * 5000)
    assert max(map(len, re.findall("x+", Page(render(run)).text))) == 999


@pytest.mark.full
def test_a_missing_picture_leaves_a_placeholder(simulated: Any) -> None:
    html = render_report(simulated.run, simulated.decisions, simulated.draws, {})
    page = check_safe(html)
    assert page.text.count("no picture") == 6
    assert page.count("img") == 0


@pytest.mark.full
def test_only_wanted_pictures_are_embedded(simulated: Any) -> None:
    wanted = pictures_wanted(simulated.decisions, simulated.draws)
    pictures = {image_id: simulated.pictures[image_id] for image_id in wanted}
    fewer = render_report(simulated.run, simulated.decisions, simulated.draws, pictures)
    assert fewer == render(simulated)
    assert len(wanted) <= 26


@pytest.mark.few(2)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1"])
def test_pictures_of_any_mode_and_size(simulate: Callable[..., Any], mode: str) -> None:
    run = simulate(1)
    run.pictures = {run.rows[0].image_id: Image.new(mode, (1200, 900))}
    html = render(run)
    assert 'src="data:image/jpeg;base64,' in html
    assert len(html) < 200_000


@pytest.mark.few(4)
@pytest.mark.parametrize("name", sorted(pictures.sound()))
def test_a_picture_of_any_file_is_shown(name: str) -> None:
    shown = data_uri(decode(pictures.sound()[name], name))
    assert shown is not None
    assert shown.startswith("data:image/")


def test_a_picture_of_unknown_colours_leaves_a_placeholder() -> None:
    picture = Image.new("P", (8, 8))
    picture.palette = None
    assert data_uri(picture) is None


def test_traces_mix_wrong_long_and_easy_images(simulated: Any) -> None:
    draws = scores_table(simulated.rows)
    outcomes = Outcomes.of(simulated.decisions)
    chosen = choose_traces(outcomes, draws)
    by_id = {row.image_id: row for row in simulated.rows}
    kept = [row for row in simulated.rows if row.raw]
    assert len(chosen) == len({image_id for _, image_id in chosen}) == 6
    assert {why for why, _ in chosen} >= {"many draws", "few draws"}
    easy = [by_id[image_id] for why, image_id in chosen if why == "few draws"]
    assert min(row.n_draws for row in kept if row.correct) in {row.n_draws for row in easy}
    assert all(row.correct for row in easy)
    assert all(by_id[i].correct is False for why, i in chosen if why == "wrong")


def test_fewer_traces_than_six_show_once_each(simulate: Callable[..., Any]) -> None:
    run = simulate(4, n_traces=3)
    chosen = choose_traces(Outcomes.of(run.decisions), run.draws)
    assert sorted(image_id for _, image_id in chosen) == [f"digits/{i:04d}" for i in range(3)]


def test_draws_without_a_decision_are_left_out(simulate: Callable[..., Any]) -> None:
    # A killed run has written the draws of an image and not yet its row.
    run = simulate(4)
    table = decisions_table(run.rows[1:])
    chosen = choose_traces(Outcomes.of(table), run.draws)
    assert "digits/0000" not in {image_id for _, image_id in chosen}


def test_a_run_without_elimination_shows_none(simulate: Callable[..., Any]) -> None:
    run = simulate(4, n_traces=3)
    headings = ("How classes fall", "How single images were decided")
    assert all(heading in Page(render(run)).text for heading in headings)
    run.run = replace(run.run, config={**run.run.config, "pruning": {"rule": "none", "draws": 1}})
    run.rows = [replace(row, n_draws=1) for row in run.rows]
    text = Page(render_report(run.run, decisions_table(run.rows), run.draws, run.pictures)).text
    assert not any(heading in text for heading in headings)
