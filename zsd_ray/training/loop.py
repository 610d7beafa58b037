"""The training loop: AdamW, clipped gradients, a moving average of the weights, checkpoints."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from zsd_ray.config.training import OptimiserConfig, TrainConfig
from zsd_ray.models.latents import to_picture
from zsd_ray.records.errors import RunBrokenError
from zsd_ray.results.contact_sheet import contact_sheet
from zsd_ray.results.image_parts import png
from zsd_ray.results.output import Output
from zsd_ray.training.batches import generators, integers, seed_of
from zsd_ray.training.curve import curve_bytes
from zsd_ray.training.news import Grid, News, Steps
from zsd_ray.training.ranks import Ranks
from zsd_ray.training.task import Batch, Stage, Task
from zsd_ray.training.training_state import Checkpoint, State

_LARGEST_GRADIENT = 1.0
_NEWS_SECONDS = 0.5


@dataclass
class Loop:
    """One process's part of one training; `run` resumes from the last checkpoint.

    Only the first rank writes files and reports news.
    """

    config: TrainConfig
    task: Task
    checkpoint: Checkpoint
    ranks: Ranks
    device: torch.device
    on_news: Callable[[News], None]
    _average: dict[str, torch.Tensor] = field(default_factory=dict)
    _losses: dict[str, list[float]] = field(default_factory=dict)
    _unread: list[torch.Tensor] = field(default_factory=list)
    _told: float = 0.0

    def run(self) -> None:
        """Train the remaining steps, and write the model."""
        for network in self.task.networks.values():
            self.ranks.join_batch_norms(network)
            self.ranks.agree(network.state_dict().values())
        state = self.checkpoint.read()
        if state is not None:
            with self.checkpoint.understood():
                self._restore(state)
        first = 0 if state is None else state.stage
        for number in range(first, len(self.task.stages)):
            self._train(number, state if number == first else None)
        if self.ranks.rank == 0:
            with self._averaged(self.task.stages[-1]):
                self._save_model("model")

    def _train(self, number: int, state: State | None) -> None:
        stage = self.task.stages[number]
        stage.begin()
        parameters = [p for network in stage.trained.values() for p in network.parameters()]
        optimizer = torch.optim.AdamW(parameters, weight_decay=stage.optimiser.weight_decay)
        start = 0 if state is None else state.step
        if state is not None and start:
            with self.checkpoint.understood():
                _restore_optimizer(optimizer, state)
        every = self.config.output.checkpoint_every * stage.unit
        _set_training(stage, True)
        for step in range(start, stage.steps):
            rate = learning_rate(stage.optimiser, step, stage.steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            self._unread.append(self._step(stage, step, optimizer, parameters))
            if stage.averaged:
                self._update_average(stage, step)
            done = step + 1
            due = done % every == 0 or done == stage.steps
            if due or time.monotonic() - self._told >= _NEWS_SECONDS:
                self._tell(stage, done)
            if due and self.ranks.rank == 0:
                self._save(number, done, optimizer)
        _set_training(stage, False)

    def _step(
        self, stage: Stage, step: int, optimizer: torch.optim.Optimizer, parameters: list[Any]
    ) -> torch.Tensor:
        """Make one step of all ranks; returns the loss of the whole batch, on the device."""
        batch = self._batch(stage, step)
        # For dropout; the same after a resume, and different for each rank's images.
        torch.manual_seed(seed_of(self.config.seed, stage.name, step, self.ranks.rank))
        optimizer.zero_grad(set_to_none=True)
        bfloat16 = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16):
            loss = stage.loss(batch).sum() / stage.size(step)
        loss.backward()  # type: ignore[no-untyped-call]
        total = self.ranks.sum_gradients(parameters, loss.detach())
        length = torch.nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT)
        optimizer.step()
        # A gradient that is not finite spoils the weights behind a loss that is.
        return torch.where(length.isfinite(), total, torch.nan)

    def _batch(self, stage: Stage, step: int) -> Batch:
        places = self.ranks.share(stage.size(step))
        rngs = generators(self.config.seed, stage.name, step, places)
        images = self.task.images
        if stage.epochs is None:
            rows = integers(rngs, len(images))
        else:
            rows = stage.epochs.rows(step, places)
        return Batch(rows, images.take(rows, rngs).to(self.device), rngs)

    def _tell(self, stage: Stage, done: int) -> None:
        # Reading a loss waits for the device, so it is done only sometimes.
        losses = torch.stack(self._unread).tolist()
        self._unread, self._told = [], time.monotonic()
        if not all(map(math.isfinite, losses)):
            raise RunBrokenError(
                f"the loss of stage {stage.name} is not finite by step {done}; lower its "
                "learning_rate, or train in float32, in a new output.path"
            )
        self._losses.setdefault(stage.name, []).extend(losses)
        if self.ranks.rank == 0:
            steps = range(done - len(losses), done)
            self.on_news(
                Steps(
                    stage=stage.name,
                    done=done,
                    total=stage.steps,
                    epoch=stage.epoch(done - 1),
                    losses=tuple(losses),
                    n_images=sum(map(stage.size, steps)),
                )
            )

    # ---- the moving average

    def _update_average(self, stage: Stage, step: int) -> None:
        decay = self.config.ema_decay
        assert decay is not None
        # Young averages forget faster, else the random start would linger.
        decay = min(decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in _tensors(stage.trained).items():
                average = self._average.setdefault(name, value.clone())
                if value.dtype.is_floating_point:
                    average.lerp_(value, 1 - decay)
                else:
                    average.copy_(value)

    @contextmanager
    def _averaged(self, stage: Stage) -> Iterator[None]:
        """Use the averaged weights inside this context, if there are any."""
        was_training = _set_training(stage, False)
        kept = {name: value.clone() for name, value in _tensors(stage.trained).items()}
        if stage.averaged:
            _load(stage.trained, self._average)
        try:
            yield
        finally:
            _load(stage.trained, kept)
            _set_training(stage, was_training)

    # ---- files

    @property
    def _output(self) -> Output:
        return self.checkpoint.output

    def _save(self, number: int, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Write the model so far; last its state, which marks the rest as complete."""
        stage = self.task.stages[number]
        if stage.shown:
            word = "step" if stage.epochs is None else "epoch"
            name = f"{word}-{step // stage.unit:04d}"
            with self._averaged(stage):
                if stage.epochs is not None:
                    self._save_model(f"checkpoints/{name}")
                images = self.task.sample()
            if images is not None:
                sheet = _sheet(images)
                self._output.write_bytes(f"samples/{name}.png", sheet)
                self.on_news(Grid(f"samples/{name}.png", sheet))
        self._output.write_bytes("loss.parquet", curve_bytes(self.task.stages, self._losses))
        tensors = {f"network.{name}": t for name, t in _tensors(self.task.networks).items()}
        tensors |= {f"average.{name}": t for name, t in self._average.items()}
        tensors |= {f"loss.{name}": torch.tensor(losses) for name, losses in self._losses.items()}
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in values.items()}
        self.checkpoint.write(State(number, step, tensors))

    def _save_model(self, name: str) -> None:
        """Write the model's folder file by file; the file that makes it a model comes last."""
        with tempfile.TemporaryDirectory() as folder:
            self.task.save(Path(folder))
            files = [path for path in Path(folder).rglob("*") if path.is_file()]
            for path in sorted(files, key=lambda path: (path.parent == Path(folder), path)):
                relative = path.relative_to(folder).as_posix()
                self._output.write_bytes(f"{name}/{relative}", path.read_bytes())

    def _restore(self, state: State) -> None:
        _load(self.task.networks, state.under("network."))
        self._average = {k: t.to(self.device) for k, t in state.under("average.").items()}
        self._losses = {name: t.tolist() for name, t in state.under("loss.").items()}


def learning_rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """Return the learning rate: a linear warm-up, then constant, or a half cosine to 0."""
    warmup = max(1, int(config.warmup * steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    share = (step - warmup) / max(1, steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def _sheet(images_N3SS: torch.Tensor) -> bytes:
    """Return images in a square grid, as PNG."""
    pictures = to_picture(images_N3SS)
    side = math.ceil(math.sqrt(len(pictures)))
    rows = [pictures[start : start + side] for start in range(0, len(pictures), side)]
    return png(contact_sheet(rows))


def _tensors(networks: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }


def _load(networks: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    for name, network in networks.items():
        network.load_state_dict({key: tensors[f"{name}.{key}"] for key in network.state_dict()})


def _set_training(stage: Stage, training: bool) -> bool:
    """Switch the training mode of a stage's networks; returns the previous mode."""
    networks: Sequence[Any] = list(stage.trained.values())
    before = cast(bool, networks[0].training)
    for network in networks:
        network.train(training)
    return before


def _restore_optimizer(optimizer: torch.optim.Optimizer, state: State) -> None:
    values: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in state.under("optimizer.").items():
        index, _, key = name.partition(".")
        values.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": values})
