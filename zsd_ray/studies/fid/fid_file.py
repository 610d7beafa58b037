"""OUTPUT/fid.json: distances of generated sets from real ones, one entry per pair; and the real
images' statistics, which several pairs share."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from zsd_ray.records.errors import DamagedFile
from zsd_ray.results.output import Output
from zsd_ray.results.record_file import as_record
from zsd_ray.studies.fid.moments import Moments

FILE = "fid.json"
_ADVICE = "rename or remove it, and what it held is measured again"


@dataclass(frozen=True)
class FidEntry:
    """One generated set against one real set.

    identity: hash of all that the figures depend on; identity_parts: what was hashed.
    fid_low, fid_high: 95 % interval, by fid_standard_error; null where there are too few images.
    kid_standard_error: over subsets; null where there is one subset.
    seconds: that seeing the images took.
    """

    identity: str
    identity_parts: dict[str, Any]
    n_real: int
    n_generated: int
    n_features: int
    fid: float
    fid_low: float | None
    fid_high: float | None
    fid_standard_error: float | None
    kid: float
    kid_standard_error: float | None
    kid_subset: int
    kid_subsets: int
    seconds: float
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Entries:
    """The content of fid.json; entries of a newer version are left unchanged."""

    sets: list[dict[str, Any]]


def write_entry(output: Output, entry: FidEntry) -> None:
    """Add an entry, or put it in the place of an earlier one of the same pair."""
    others = [each for each in read_entries(output) if each.get("identity") != entry.identity]
    content = json.dumps({"sets": [*others, asdict(entry)]}, indent=2, ensure_ascii=False) + "\n"
    output.write_bytes(FILE, content.encode())


def read_entries(output: Output) -> list[dict[str, Any]]:
    """The entries as plain values, in the order of their writing."""
    content = output.read_json(FILE)
    return [] if content is None else as_record(_Entries, content, output.shown(FILE), _ADVICE).sets


@dataclass(frozen=True, eq=False)
class RealStatistics:
    """moments of all real images; features (n, D) float32 of some, for the kernel distance."""

    moments: Moments
    features: NDArray[np.float32]

    def write(self, output: Output, identity: str) -> None:
        """Keep them under the hash of what they depend on."""
        moments = self.moments
        arrays = {
            "n": np.array([moments.n]),
            "mean": moments.mean,
            "deviations": moments.deviations,
            "features": self.features,
        }
        output.write_bytes(_name(identity), save(arrays))

    @classmethod
    def read(cls, output: Output, identity: str) -> RealStatistics | None:
        """Return the saved statistics; None: nothing yet."""
        content = output.read_bytes(_name(identity))
        if content is None:
            return None
        try:
            arrays = load(content)
            n, mean, deviations = int(arrays["n"][0]), arrays["mean"], arrays["deviations"]
            features = arrays["features"]
            d = mean.shape[0]
            if n < 1 or deviations.shape != (d, d) or features.shape[1] != d:
                raise ValueError("its arrays are not of one number of features")
        except Exception as error:  # the library's own; the content is in memory
            raise DamagedFile.of(error, output.shown(_name(identity)), _ADVICE) from error
        return cls(Moments(n, mean, deviations), features)


def _name(identity: str) -> str:
    return f"real/{identity}.safetensors"
