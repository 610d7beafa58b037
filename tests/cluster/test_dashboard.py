"""cluster/grafana-dashboard.json draws what zsd_ray exports, and only that."""

import json
import re
from pathlib import Path

import pytest

from zsd_ray.runtime.gauges import COUNTERS, GAUGES, WORKER_COUNTERS

ROOT = Path(__file__).parents[2]
# Ray puts `ray_` before a name, and `_total` behind a counter's.
EXPORTED = {f"ray_{name}" for name, _ in GAUGES.values()} | {
    f"ray_{name}_total" for name, _ in (*COUNTERS.values(), *WORKER_COUNTERS.values())
}


@pytest.fixture(scope="module")
def dashboard() -> dict:
    return json.loads((ROOT / "cluster" / "grafana-dashboard.json").read_text())


def _queries(dashboard: dict) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_it_names_exactly_the_exported_metrics(dashboard):
    drawn = {name for query in _queries(dashboard) for name in re.findall(r"ray_\w+", query)}
    assert drawn == EXPORTED


def test_counters_are_drawn_as_rates_and_gauges_as_they_are(dashboard):
    for query in _queries(dashboard):
        for name in re.findall(r"ray_\w+", query):
            is_rate = re.search(rf"(rate|increase)\({name}\{{", query) is not None
            # How many images are decided is itself of interest.
            expected = name.endswith("_total") and "images_decided" not in name
            assert is_rate == expected, query


def test_every_query_is_of_the_chosen_run(dashboard):
    for query in _queries(dashboard):
        names = re.findall(r"ray_\w+", query)
        assert query.count('{run=~"$run"}') == len(names), query
        assert query.count("(") == query.count(")"), query
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    asked = re.fullmatch(r"label_values\((\w+), run\)", variables["run"]["query"]["query"])
    assert asked
    assert asked[1] in EXPORTED
    assert variables["run"]["includeAll"] is True


def test_it_works_with_any_prometheus_and_its_panels_do_not_overlap(dashboard):
    assert "__inputs" not in dashboard
    assert "id" not in dashboard
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    cells = set()
    for panel in dashboard["panels"]:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in cells
                cells.add((x, y))
