"""The shape bias of a run on cue-conflict images, compared with people and networks.

Geirhos et al. 2019; zsd_ray/studies/cue_conflict/shape_bias_counts.py has what is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from zsd_ray.analysis.saved_run import SavedRun, open_run
from zsd_ray.data.layouts.cue_conflict import cues
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store
from zsd_ray.studies.cue_conflict.recorded_decisions import Answers, read_recorded
from zsd_ray.studies.cue_conflict.shape_bias_counts import Observer, ShapeBias, shape_bias

PEOPLE = "people"


@dataclass(frozen=True)
class CueConflict:
    """The results of `zsd-ray shape-bias`.

    n_images: that the run should decide; n_errors: that it could not classify, n_open: that it has
        not decided yet; they are in no figure.
    observers: the run, then people, then networks by name.
    """

    run: str
    n_images: int
    n_errors: int
    n_open: int
    observers: tuple[Observer, ...]


def cue_conflict(
    path: str, decisions: Sequence[str] = (), store: Store | None = None
) -> CueConflict:
    """Count what the run whose output is at `path` decided, and what was recorded in files.

    Args:
        decisions: CSVs of recorded decisions, or glob patterns of them.
        store: how all of them are reached; None: by a plain `Store()`.

    Raises:
        UserError: there is no such run or file, or it is not about cue-conflict images.
    """
    run = open_run(path, store)
    recorded = read_recorded(decisions, run.output.store)
    rows = run.read("decisions", ["image_id", "label", "prediction"])
    decided = rows.filter(pc.is_valid(rows["prediction"]))
    if not len(decided):
        raise UserError(f"{run.name} has decided no image; run it first")
    own = _answers(run, *(decided[name].to_pylist() for name in decided.column_names))
    return CueConflict(
        run=run.name,
        n_images=run.record.n_images,
        n_errors=len(rows) - len(decided),
        n_open=max(0, run.record.n_images - len(rows)),
        observers=(Observer(_label(run), _bias(own)), *_observers(recorded)),
    )


def _answers(
    run: SavedRun, ids: Sequence[str], labels: Sequence[int | None], predictions: Sequence[int]
) -> Answers:
    """A class is known by the shape of the images that are labelled with it, whatever the run calls
    it in its prompts, and by its name where there are none."""
    try:
        both = [cues(image_id) for image_id in ids]
    except UserError as error:
        raise UserError(f"{run.name} is no run on cue-conflict images: {error}") from None
    shapes, textures = (tuple(pair[i] for pair in both) for i in (0, 1))
    names = list(run.record.classes)
    found: dict[int, str] = {}
    for label, shape in zip(labels, shapes, strict=True):
        if label is not None and found.setdefault(label, shape) != shape:
            raise UserError(
                f"{run.name} has images of the shapes {found[label]!r} and {shape!r} in one class; "
                "the label of a cue-conflict image must be its shape"
            )
    for label, shape in found.items():
        names[label] = shape
    unknown = sorted({*shapes, *textures} - set(names))
    if unknown:
        raise UserError(
            f"{run.name} has images of a cue {unknown[0]!r}, but no class of that name; run it "
            "with the data's own class names"
        )
    return Answers(run.name, shapes, textures, tuple(names[number] for number in predictions))


def _observers(recorded: Sequence[Answers]) -> list[Observer]:
    people = [each for each in recorded if each.is_person]
    networks = [Observer(each.subject, _bias(each)) for each in recorded if not each.is_person]
    if not people:
        return networks
    of_each = [_bias(each).overall.shape_bias for each in people]
    pooled = Observer(
        PEOPLE,
        _bias(Answers.together(PEOPLE, people)),
        len(people),
        tuple(sorted(found.value for found in of_each if found is not None)),
    )
    return [pooled, *networks]


def _bias(answers: Answers) -> ShapeBias:
    return shape_bias(answers.shapes, answers.textures, answers.answers)


def _label(run: SavedRun) -> str:
    return run.name.rstrip("/").rpartition("/")[2]
