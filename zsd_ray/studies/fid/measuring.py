"""FID and KID of two sets of images: planning and measuring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsd_ray.config.data import DataConfig
from zsd_ray.config.identity import NUMERICS, hash_of
from zsd_ray.data.dataset import ImageDataset, choose_subset
from zsd_ray.data.open import open_dataset
from zsd_ray.models.features.inception import PUBLISHED
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redacted
from zsd_ray.results.job import Job, OnWarning, planning
from zsd_ray.results.output import Output
from zsd_ray.results.record_file import Status
from zsd_ray.results.tracking.tracker import TrackedRun
from zsd_ray.runtime.executor import workers
from zsd_ray.runtime.pieces import DoAll
from zsd_ray.settings.section import WHOLE
from zsd_ray.storage.store import Store
from zsd_ray.studies.fid.extractors import check_extractor
from zsd_ray.studies.fid.feature_reader import FeatureReader, Sets, pieces
from zsd_ray.studies.fid.fid_config import FidConfig
from zsd_ray.studies.fid.fid_file import FidEntry, RealStatistics, write_entry
from zsd_ray.studies.fid.frechet import Reference, interval, jackknife_error
from zsd_ray.studies.fid.kernel_distance import kernel_distance
from zsd_ray.studies.fid.moments import Moments

KEPT = 10_000
"""Real images whose features are kept for the kernel distance; the moments are of all."""
GROUPS = 10
"""Of the jackknife."""

OnImages = Callable[[int, int], None]
"""Called with how many images were seen, of how many."""


@dataclass(frozen=True)
class FidPlan:
    """A checked comparison. real, generated: numbers of the images in their data sets."""

    sets: Sets
    real: Sequence[int]
    generated: Sequence[int]
    real_parts: dict[str, Any]
    parts: dict[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class FidResult:
    """The result, and its location."""

    entry: FidEntry
    output: str
    tracked: TrackedRun | None


def plan_fid(config: FidConfig, store: Store | None = None) -> FidPlan:
    """Check a configuration against its images and its extractor; nothing is written.

    Args:
        store: how everything is reached, also by what follows; None: as the storage section says.

    Raises:
        UserError: the error, in one line.
    """
    if config.cluster.batch_size == "auto":
        raise UserError("cluster.batch_size auto is for runs; set a number of images")
    store = store or Store(config.storage)
    extractor = check_extractor(config.extractor, store)
    found = {}
    for which in ("real", "generated"):
        data: DataConfig = getattr(config, which)
        try:
            dataset = open_dataset(data, store)
        except UserError as error:
            raise UserError(f"{which}: {error}") from error
        numbers = choose_subset(dataset.records, data.limit)
        if len(numbers) < 2:
            raise UserError(f"{which} has {len(numbers)} image; a covariance needs at least 2")
        found[which] = dataset, numbers
    seen = {"numerics": NUMERICS, "extractor": extractor, "image_size": config.image_size}
    if config.extractor.kind == "denoiser":
        seen["seed"] = config.seed  # of the noise that it sees
    real, generated = (
        _data_parts(getattr(config, which), *found[which]) for which in ("real", "generated")
    )
    warnings = []
    if not extractor.get("sha256", PUBLISHED).startswith(PUBLISHED):
        warnings.append(
            "extractor.weights are not the published ones: this FID is not to be compared with "
            "published figures"
        )
    return FidPlan(
        sets=Sets(config, found["real"][0], found["generated"][0], store),
        real=found["real"][1],
        generated=found["generated"][1],
        real_parts=seen | {"real": real},
        parts=seen | {"real": real, "generated": generated, "seed": config.seed},
        warnings=tuple(warnings),
    )


def fid(
    config: FidConfig,
    *,
    local: bool = False,
    on_images: OnImages = lambda done, total: None,
    on_warning: OnWarning = print,
) -> FidResult:
    """Measure FID and KID of the generated images that `config` names against the real ones.

    Args:
        local: in this process, without Ray.
        on_images: called with the number of images seen, and of all images.

    Raises:
        UserError: bad input; or an image cannot be read.
        RunBrokenError, StoreError: it cannot continue; the same call resumes it later.
    """
    with planning(config) as store:
        planned = plan_fid(config, store)
    found = _Measuring(planned, local, on_images, on_warning).run()
    assert found is not None  # else what broke it was raised
    return found


class _Measuring(Job[FidResult | None]):
    """Sees all images, and writes what they come to: an entry of its own in fid.json."""

    def __init__(
        self, planned: FidPlan, local: bool, on_images: OnImages, on_warning: OnWarning
    ) -> None:
        config = planned.sets.config
        super().__init__(config, planned.sets.store, on_warning, hash_of(planned.parts))
        self._planned = planned
        self._do_all = workers(local, config.cluster, config.device)
        self._on_images = on_images
        self._entry: FidEntry | None = None
        self.output.prepare()

    def work(self) -> Status:
        planned = self._planned
        self.tracker()
        real, generated = _features(planned, self.output, self._do_all, self._on_images)
        warnings = [*planned.warnings, *_rank_warnings(real.moments.n, generated)]
        self._entry = _entry(planned, real, generated, warnings, self.seconds)
        write_entry(self.output, self._entry)
        for warning in warnings:
            self._on_warning(warning)
        return "finished"

    def end(self, status: Status) -> FidResult | None:
        entry, metrics = self._entry, {}
        if entry is not None:
            names = ("fid", "fid_low", "fid_high", "kid", "kid_standard_error", "n_real")
            metrics = {name: v for name in names if (v := getattr(entry, name)) is not None}
            metrics["n_generated"] = entry.n_generated
        tracked = self.close_tracker(status, metrics, {})
        return None if entry is None else FidResult(entry, redacted(self.output.path), tracked)


def _features(
    plan: FidPlan, output: Output, do_all: DoAll, on_images: OnImages
) -> tuple[RealStatistics, NDArray[np.float32]]:
    """Return the real images' statistics, saved or computed, and all generated features, (n, D)."""
    identity = hash_of(plan.real_parts)
    kept = RealStatistics.read(output, identity)
    of_real = [] if kept else pieces(True, plan.real)
    of_generated = pieces(False, plan.generated)
    todo = [*of_real, *of_generated]
    total, done = sum(len(piece.numbers) for piece in todo), 0

    def told() -> Iterator[NDArray[np.float32]]:
        nonlocal done
        for piece, vectors in zip(
            todo, do_all(partial(FeatureReader, plan.sets), todo), strict=True
        ):
            done += len(piece.numbers)
            on_images(done, total)
            yield vectors

    vectors = told()
    if kept is None:
        few = np.asarray(choose_subset(plan.sets.real.records, KEPT))
        moments: Moments | None = None
        some = []
        for piece in of_real:
            part = next(vectors)
            of_part = Moments.of(part)
            moments = of_part if moments is None else moments.merged(of_part)
            some.append(part[np.isin(piece.numbers, few)])
        assert moments is not None
        kept = RealStatistics(moments, np.concatenate(some))
        kept.write(output, identity)
    return kept, np.concatenate(list(vectors))


def _entry(
    plan: FidPlan,
    real: RealStatistics,
    generated: NDArray[np.float32],
    warnings: list[str],
    seconds: float,
) -> FidEntry:
    reference = Reference(real.moments)
    fid = reference.distance(Moments.of(generated))
    error = low = high = None
    if len(generated) >= 2 * GROUPS:
        # Every tenth: a set in order of its classes has some of all in each.
        groups = [Moments.of(generated[number::GROUPS]) for number in range(GROUPS)]
        error = jackknife_error(reference, groups)
        low, high = interval(fid, error, GROUPS)
    kid = kernel_distance(real.features, generated, plan.sets.config.seed)
    return FidEntry(
        identity=hash_of(plan.parts),
        identity_parts=redacted(plan.parts),
        n_real=real.moments.n,
        n_generated=len(generated),
        n_features=generated.shape[1],
        fid=fid,
        fid_low=low,
        fid_high=high,
        fid_standard_error=error,
        kid=kid.mean,
        kid_standard_error=kid.standard_error,
        kid_subset=kid.subset,
        kid_subsets=kid.n_subsets,
        seconds=round(seconds, 3),
        warnings=warnings,
    )


def _rank_warnings(n_real: int, generated: NDArray[np.float32]) -> Iterator[str]:
    n_features = generated.shape[1]
    for name, n in (("real", n_real), ("generated", len(generated))):
        if n <= n_features:
            yield (
                f"{n:,} {name} images have a covariance of rank {n - 1:,} at most, for "
                f"{n_features:,} features: FID is far too high, and to be compared only with sets "
                "of as many images; KID has no such bias"
            )


def _data_parts(
    config: DataConfig, dataset: ImageDataset, numbers: Sequence[int]
) -> dict[str, Any]:
    """Return the identity of a set of images, as far as it is known without reading them."""
    ids = [dataset.records[number].image_id for number in numbers]
    keys = {"source", "path", "split", "image_column"}
    tree = config.model_dump(mode="json", include=keys, context={WHOLE: True})
    # What is done to the pictures, where something is.
    tree |= config.model_dump(
        mode="json", include={"compatible", "corruption"}, exclude_none=True, context={WHOLE: True}
    )
    return tree | {"n": len(ids), "images": hash_of({"ids": ids})}
