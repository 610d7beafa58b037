"""What people are told of a screen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zsd_ray.reports.html import render_report
from zsd_ray.reports.screens import audit_tile, screen_rows
from zsd_ray.results.rows.schema import decisions_table

SCREENED = {"screened": 40, "candidates_per_image": 3.25, "n_screen_evaluations": 1600}
AUDITED = {
    "audited": 20,
    "screen_lost": 1,
    "screen_loss": 0.05,
    "screen_loss_low": 0.0089,
    "screen_loss_high": 0.2361,
    "audit_labelled": 19,
    "audit_accuracy_screened": 0.9,
    "audit_accuracy_full": 0.95,
}


def test_a_run_without_a_screen_says_nothing_of_one() -> None:
    assert screen_rows({"images": 40}) == []
    assert audit_tile({"images": 40}) is None


def test_the_screen_its_cost_and_its_loss_are_said() -> None:
    assert screen_rows(SCREENED | AUDITED) == [
        ("screen", "3.2 classes per image kept, after 40.0 evaluations, counted above"),
        (
            "audit",
            "1 of 20 images lost by the screen, 5.0%  95% interval [0.9%, 23.6%]; accuracy 90.0% "
            "with it, 95.0% without",
        ),
    ]


def test_evaluations_of_another_model_are_said_apart() -> None:
    totals = SCREENED | {"n_screen_evaluations": 0, "other_model_evaluations_per_image": 1000.0}
    _, text = screen_rows(totals)[0]
    assert text.endswith("after 1,000.0 evaluations of another model, not counted above")


def test_without_labels_there_is_no_accuracy() -> None:
    totals = SCREENED | AUDITED | {"audit_labelled": 0, "audit_accuracy_screened": None}
    assert screen_rows(totals)[1][1].endswith("23.6%]; without labels")


def test_without_an_audit_it_is_said_that_the_loss_is_not_known() -> None:
    for totals in (SCREENED, SCREENED | {"audited": 0, "screen_loss": None}):
        assert screen_rows(totals)[1] == (
            "audit",
            "of no image, so that what the screen lost is not known",
        )


def test_the_page_tells_the_screen(simulated: Any) -> None:
    rows = [replace(row, n_candidates=5, n_screen_evaluations=7) for row in simulated.rows]
    config = simulated.run.config | {"screen": {"run": "runs/clip", "tree": None, "top": 5}}
    run = replace(simulated.run, config=config, totals=simulated.run.totals | AUDITED)
    page = render_report(run, decisions_table(rows), simulated.draws, {})
    assert "the 5 best of the run runs/clip" in page
    assert "7 of them by the screen" in page
    assert "that the rule asked for, after the screen." in page
    assert "lost by the screen" in page
    assert "1 of 20 audited images" in page
    mean = decisions_table(rows)["n_evaluations"].to_numpy().mean() + 7
    assert f"<b>{mean:,.0f}</b>" in page
    without = render_report(simulated.run, simulated.decisions, simulated.draws, {})
    assert "by the screen" not in without
