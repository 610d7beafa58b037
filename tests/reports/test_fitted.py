"""What a fit shows."""

from zsd_ray.reports.fitted import fitted_rows
from zsd_ray.reports.lines import aligned


def test_a_fit_with_labels_says_whose_accuracy_it_shows():
    before, after = (280, 0.9, 0.86, 0.93), (280, 0.925, 0.89, 0.95)
    rows = fitted_rows("learned", "/f.json", 120, 7200, 0.3, before, after)
    text = aligned(rows)
    assert "fitted on  120 images (with labels, of a share of 0.3), 7,200 draws" in text
    assert "90.0% [86.0%, 93.0%] with the run's own weights" in text
    assert "92.5% [89.0%, 95.0%] with these, on 280 other images" in text
    assert text.endswith("method: {weighting: learned, profile: /f.json}")


def test_a_fit_without_labels():
    rows = dict(fitted_rows("standardised", "/f.json", 1, 60, None, None, None))
    assert rows["fitted on"] == "1 images (no labels), 60 draws"
    assert "accuracy" not in rows
