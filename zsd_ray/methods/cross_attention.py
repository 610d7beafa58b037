"""Name several classes in one prompt, and measure which of them the image attends to: Startsev &
Singh, Algorithm 5.

    class = argmax_k  E_{order, eps} mean_{t, layer} a(map of name k at x_t)

A name's map is the mean of its tokens' maps; a is its mean over places (`mean`), or the share of
places where it reaches `threshold` times the largest value of all names in that layer (`count`),
so that maps of every size count alike. a lies in [0, 1].

The paper leaves open which layers and times, how the mask is binarised, and what to do when a
prompt cannot hold all classes. Ours: all cross-attentions unless `resolutions` says otherwise; and
a tournament. The classes, in an order shuffled by the draw, are cut into the fewest prompts of
equal size (to within one name) that hold them and no more than `group`; the winners of these go to
the next round, until one prompt, the final, holds all that are left. The score of a class is

    (rounds between its last one and the final) - (its attention in its last one)

so that who came further is never worse, and with a single prompt it is the attention alone. The
order is that of a draw, not of an image, so that all images read the same first prompts; it is
averaged over draws, for where a name stands in the prompt changes how much it is attended to.

Shapes: B rows, C channels, H x W of x, h x w of a map, L tokens, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from zsd_ray.config.algorithms import CrossAttentionMethod
from zsd_ray.diffusion import draws
from zsd_ray.methods.class_rows import batches
from zsd_ray.methods.method import Bound, Method, Sample, Unit, UnitScores
from zsd_ray.models.denoiser import Attends, PromptEncoder
from zsd_ray.records.errors import UserError

Group = tuple[int, ...]
"""Classes that one prompt names, in its order."""

_OR = " or "
_PROMPTS_KEPT = 1024  # 160 MB of Stable Diffusion 2's in half precision


@dataclass(frozen=True)
class _Prompt:
    """conditioning: one row of each tensor. tokens: (L, L) float32, of which column i averages the
    tokens of the i-th name; columns beyond the names are zero."""

    conditioning: Mapping[str, torch.Tensor]
    tokens: torch.Tensor


@dataclass(frozen=True)
class _Row:
    """One forward: x_0 and noise (C, H, W), the number of its time, the classes of its prompt."""

    x_0: torch.Tensor
    noise: NDArray[np.float32]
    time: int
    group: Group


@dataclass
class _Contest:
    """The classes of one (unit, draw): `left` are still in, in the draw's order.

    round, attention: of each class, its last.
    """

    unit: int
    x_0: torch.Tensor
    noise: NDArray[np.float32]
    left: Group
    round: dict[int, int] = field(default_factory=dict)
    attention: dict[int, float] = field(default_factory=dict)

    def finish_round(self, groups: Sequence[Group], attention: Sequence[Sequence[float]]) -> None:
        """Record the attention to each name of each group; of equals the first in order wins."""
        number = max(self.round.values(), default=-1) + 1
        for group, values in zip(groups, attention, strict=True):
            self.round |= dict.fromkeys(group, number)
            self.attention |= dict(zip(group, values, strict=True))
        self.left = tuple(max(group, key=self.attention.__getitem__) for group in groups)
        if len(groups) == 1:
            self.left = ()

    def scores(self, classes: Sequence[int]) -> list[float]:
        final = max(self.round.values())
        return [final - self.round[number] - self.attention[number] for number in classes]


class CrossAttention(Method):
    """Scores draws of images by their attention to the classes' names.

    The t of a draw's scores is the mean of `config.times`.

    Raises:
        UserError: the U-Net has no maps of `config.resolutions`, or no prompt holds two names.
    """

    def __init__(self, bound: Bound, config: CrossAttentionMethod) -> None:
        self._bound = bound
        self._config = config
        self._model = cast(Attends, bound.denoiser)
        self._times = bound.denoiser.schedule.snap(np.array(config.times))
        self._chosen, self._length = _chosen_maps(bound, config)
        encoder = bound.prompt_encoder()
        self._check_names(encoder)
        self._groups = lru_cache(maxsize=256)(_grouping(bound, encoder, config.group))
        self._prompt = lru_cache(maxsize=_PROMPTS_KEPT)(_encoding(bound, encoder, self._length))

    def score(self, units: Sequence[Unit]) -> list[UnitScores]:
        contests = [
            _Contest(number, unit.sample.x_0, noise, self._order(draw, unit.classes))
            for number, unit in enumerate(units)
            for draw, noise in zip(unit.draws, self._noise(unit.sample, unit.draws), strict=True)
        ]
        n_evaluations = np.zeros(len(units), dtype=np.int64)
        while open_ones := [contest for contest in contests if contest.left]:
            groups = [self._groups(contest.left) for contest in open_ones]
            attention = iter(self._attention(open_ones, groups))
            for contest, mine in zip(open_ones, groups, strict=True):
                contest.finish_round(mine, [next(attention) for _ in mine])
                n_evaluations[contest.unit] += len(mine) * len(self._times)
        t = self._bound.denoiser.schedule.snap(self._times.mean(keepdims=True))
        tables = [
            [contest.scores(unit.classes) for contest in contests if contest.unit == number]
            for number, unit in enumerate(units)
        ]
        return [
            UnitScores(
                np.array(table, dtype=np.float32), self._bound.drawn(t.repeat(len(table))), int(n)
            )
            for table, n in zip(tables, n_evaluations, strict=True)
        ]

    def first_maps(self, x_0: torch.Tensor, image_id: str, draw: int) -> torch.Tensor:
        """Return the maps of the first round, as the function `class_maps` does."""
        classes = range(len(self._bound.names))
        noise = draws.noise(self._bound.seed, image_id, range(draw, draw + 1), tuple(x_0.shape))[0]
        groups = self._groups(self._order(draw, classes))
        n_times = len(self._times)
        rows = [_Row(x_0, noise, time, group) for group in groups for time in range(n_times)]
        of_names = torch.cat(self._run(rows, _upsampled))[: len(rows)]
        # (groups, L, h, w)
        of_names = of_names.reshape(-1, n_times, *of_names.shape[1:]).mean(dim=1).cpu()
        maps = {
            number: of_name
            for group, of_group in zip(groups, of_names, strict=True)
            for number, of_name in zip(group, of_group, strict=False)
        }
        return torch.stack([maps[number] for number in classes])

    def _check_names(self, encoder: PromptEncoder) -> None:
        bound = self._bound
        places = [_places(bound, encoder, (number,)) for number in range(len(bound.names))]
        n_tokens = [self._length if of is None else len(of[0]) for of in places]
        longest = tuple(sorted(range(len(n_tokens)), key=n_tokens.__getitem__)[-2:])
        text, _ = joint_prompt(bound, longest)
        if _places(bound, encoder, longest) is None:
            raise UserError(
                f"method.name {self._config.name} compares classes that one prompt names, and the "
                f"{self._length} tokens of this text encoder do not hold {text!r}; shorten "
                "prompts.templates or these names of prompts.classes"
            )

    def _order(self, draw: int, classes: Sequence[int]) -> Group:
        """Return the classes in the order of a draw, which is the same for all images."""
        keys = draws.noise(self._bound.seed, "", range(draw, draw + 1), (len(self._bound.names),))
        mine = set(classes)
        return tuple(n for n in np.argsort(keys[0], kind="stable").tolist() if n in mine)

    def _noise(self, sample: Sample, numbers: range) -> NDArray[np.float32]:
        shape = tuple(sample.x_0.shape)
        return draws.noise(self._bound.seed, sample.image_id, numbers, shape)

    def _attention(
        self, contests: Sequence[_Contest], groups: Sequence[Sequence[Group]]
    ) -> list[list[float]]:
        """Return the attention to the names of each group of each contest, in order."""
        rows = [
            _Row(contest.x_0, contest.noise, time, group)
            for contest, mine in zip(contests, groups, strict=True)
            for group in mine
            for time in range(len(self._times))
        ]
        # The only place where the host waits for the device, once per round.
        values = torch.cat(self._run(rows, self._aggregate))[: len(rows)].cpu().numpy()
        of_group = values.reshape(-1, len(self._times), self._length).mean(axis=1, dtype=np.float64)
        each = [group for mine in groups for group in mine]
        return [of[: len(group)].tolist() for of, group in zip(of_group, each, strict=True)]

    def _aggregate(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the attention to each name, the mean over layers, (B, L)."""
        if self._config.aggregate == "count":
            largest = [of_layer.amax(dim=(1, 2, 3), keepdim=True) for of_layer in maps]
            bars = [self._config.threshold * value for value in largest]
            maps = [(layer >= bar).float() for layer, bar in zip(maps, bars, strict=True)]
        return torch.stack([of_layer.mean(dim=(1, 2)) for of_layer in maps]).mean(dim=0)

    def _run(
        self, rows: Sequence[_Row], reduce: Callable[[list[torch.Tensor]], torch.Tensor]
    ) -> list[torch.Tensor]:
        """Yield batches of `reduce` applied to the rows' maps of names, (B, h, w, L) per layer.

        All shapes are independent of the names and their number, so that a row's numbers do not
        depend on the other rows.
        """
        bound, device = self._bound, self._bound.denoiser.device
        results = []
        for mine in batches(len(rows), bound.rows):
            batch = [rows[number] for number in mine.tolist()]
            t = self._times[[row.time for row in batch]]
            alpha, sigma = bound.alpha_sigma(t)
            noise = torch.from_numpy(np.stack([row.noise for row in batch])).to(device)
            x_t = alpha * torch.stack([row.x_0 for row in batch]) + sigma * noise
            prompts = [self._prompt(row.group) for row in batch]
            conditioning = {
                name: torch.cat([prompt.conditioning[name] for prompt in prompts])
                for name in prompts[0].conditioning
            }
            maps = self._model.attention(x_t, bound.model_time(t), conditioning)
            tokens_BLL = torch.stack([prompt.tokens for prompt in prompts])
            results.append(
                reduce(
                    [
                        (maps[number].flatten(1, 2) @ tokens_BLL).view_as(maps[number])
                        for number in self._chosen
                    ]
                )
            )
        return results


def class_maps(
    bound: Bound, config: CrossAttentionMethod, x_0: torch.Tensor, image_id: str, draw: int = 0
) -> torch.Tensor:
    """Return the maps of all K classes in the draw's first round, (K, h, w) float32, on the CPU.

    Means over tokens, times and chosen layers; smaller maps are brought to the size of the largest
    by bilinear interpolation. Classes of different groups stood in different prompts.

    Args:
        x_0: (C, H, W) float32, on the device.

    Raises:
        UserError: as for `CrossAttention`.
    """
    with torch.no_grad():
        return CrossAttention(bound, config).first_maps(x_0, image_id, draw)


def _chosen_maps(bound: Bound, config: CrossAttentionMethod) -> tuple[list[int], int]:
    """Run one forward, and return the numbers of the chosen maps, and L."""
    denoiser = bound.denoiser
    x = torch.zeros((1, *denoiser.sample_shape), device=denoiser.device)
    first = {name: of[:1] for name, of in bound.conditioning.items()}
    time = bound.model_time(denoiser.schedule.snap(np.array(config.times[:1])))
    maps = cast(Attends, denoiser).attention(x, time, first)
    heights = [of_layer.shape[1] for of_layer in maps]
    wanted = heights if config.resolutions is None else config.resolutions
    absent = sorted(set(wanted) - set(heights))
    if absent:
        raise UserError(
            f"method.resolutions {list(wanted)}: this model has no attention maps of height "
            f"{', '.join(map(str, absent))}, but of {', '.join(map(str, sorted(set(heights))))}"
        )
    chosen = [number for number, height in enumerate(heights) if height in wanted]
    return chosen, maps[0].shape[-1]


def joint_prompt(bound: Bound, group: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
    """Return the prompt that names a group, and the place of each name in it."""
    before, _, after = bound.templates[0].partition("{}")
    text, spans = before, list[tuple[int, int]]()
    for number in group:
        text += _OR if spans else ""
        spans.append((len(text), len(text) + len(bound.names[number])))
        text += bound.names[number]
    return text + after, spans


def _places(bound: Bound, encoder: PromptEncoder, group: Sequence[int]) -> list[list[int]] | None:
    return encoder.places(*joint_prompt(bound, group))


def _grouping(
    bound: Bound, encoder: PromptEncoder, most: int | None
) -> Callable[[Group], list[Group]]:
    """Return a function that cuts classes into the fewest groups that fit prompts and `most`."""

    def cut(left: Group) -> list[Group]:
        for n_groups in count(-(-len(left) // (most or len(left)))):
            groups = [tuple(part.tolist()) for part in np.array_split(np.array(left), n_groups)]
            if all(_places(bound, encoder, group) is not None for group in groups):
                return groups
        raise AssertionError

    return cut


def _encoding(bound: Bound, encoder: PromptEncoder, length: int) -> Callable[[Group], _Prompt]:
    """Return a function that encodes a group's prompt alone, since batching changes last bits."""

    def encode(group: Group) -> _Prompt:
        places = _places(bound, encoder, group)
        assert places is not None
        tokens = torch.zeros(length, length)
        for column, of_name in enumerate(places):
            tokens[of_name, column] = 1 / len(of_name)
        conditioning = {
            name: of.to(bound.conditioning[name].dtype)
            for name, of in encoder.encode([joint_prompt(bound, group)[0]]).items()
        }
        return _Prompt(conditioning, tokens.to(bound.denoiser.device))

    return encode


def _upsampled(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean over layers, upsampled to the largest size, (B, L, h, w)."""
    size = max(of_layer.shape[1:3] for of_layer in maps)
    layers = [of_layer.permute(0, 3, 1, 2) for of_layer in maps]
    return torch.stack([interpolate(layer, size, mode="bilinear") for layer in layers]).mean(dim=0)
