"""The training loop: one process or many, resumable to the bit.

Plain PyTorch: forward, backward, step. What a step draws depends on (seed, step) alone, so a run
that was killed and resumed ends with the same weights as one that was not.
"""

import logging
import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from MorseCore.checkpoint import CheckpointStore
from MorseCore.config import encode
from MorseCore.dataset import PreparedCase
from MorseCore.distributed import World
from MorseCore.errors import ConfigError, MorseError
from MorseCore.losses import render_weight
from MorseCore.network import Network
from MorseCore.prediction import autocast
from MorseCore.run_log import RunLog
from MorseCore.samples import CropDataset
from MorseCore.seeds import generator_for, seed_for
from MorseCore.training_config import RunConfig
from MorseCore.validation import Validator

__all__ = ["Trainer"]

_PATIENCE = 20  # steps in a row without a finite loss before the run gives up
log = logging.getLogger(__name__)


class Objective(nn.Module):
    """Network and losses in one forward pass, so that ``DistributedDataParallel`` can wrap it."""

    def __init__(self, network: Network, config: RunConfig) -> None:
        super().__init__()
        self.network = network
        self._sampler = config.sampler.build()
        self._stride = config.optimisation.supervision_stride

    def forward(
        self, image: Tensor, labels: Tensor, active: tuple[str, ...], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Losses by name of a batch (B, C_in, *S), (B, *S)."""
        field = self.network(image, generator=generator)
        losses: dict[str, Tensor] = self.network.head.losses(
            field, labels, sampler=self._sampler, active=active, stride=self._stride,
            generator=generator,
        )  # fmt: skip
        return losses


class Trainer:
    """Trains one network on prepared cases.

    Example::

        trainer = Trainer(config, network, train, val, validator, world, folder)
        weights, best = trainer.run()
    """

    def __init__(
        self,
        config: RunConfig,
        network: Network,
        train: list[PreparedCase],
        val: list[PreparedCase],
        validator: Validator,
        world: World,
        folder: Path,
    ) -> None:
        self.config, self.world, self.val, self.validator = config, world, val, validator
        self.network = network.to(world.device)
        options = config.optimisation
        self.objective: nn.Module = Objective(self.network, config)
        if world.size > 1:
            # The rendering branch has no gradient while its weight is 0.
            self.objective = DistributedDataParallel(self.objective, find_unused_parameters=True)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.PolynomialLR(
            self.optimizer, total_iters=options.iterations, power=options.power
        )
        is_fp16 = options.precision == "fp16" and world.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(enabled=is_fp16)
        per_step = options.batch_size * options.accumulate
        self.samples = CropDataset(
            train, config.preparation.window_size, augmentation=config.augmentation,
            length=options.iterations * per_step * world.size, seed=config.seed,
            oversample=config.data.foreground,
        )  # fmt: skip
        self.store, self.log = CheckpointStore(folder), RunLog(folder, enabled=world.is_main)
        self.best, self.step, self._stop = -math.inf, 0, False

    def run(self) -> bool:
        """Train from where the last checkpoint stands; False if asked to stop on the way.

        :raises MorseError: if the loss is not finite for many steps in a row.
        """
        self._resume()
        previous = [signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)]
        try:
            self._loop()
        finally:
            for number, handler in zip((signal.SIGINT, signal.SIGTERM), previous, strict=True):
                signal.signal(number, handler)
            self.log.close()
        return self.step >= self.config.optimisation.iterations

    def _loop(self) -> None:
        total, failures = self.config.optimisation.iterations, 0
        bar = tqdm(
            total=total, initial=self.step, desc=self.config.name, unit="it",
            disable=not self.world.is_main, mininterval=2, dynamic_ncols=True,
        )  # fmt: skip
        batches = self._batches()
        while self.step < total and not self._stop:
            losses = self._train_step(batches)
            failures = 0 if losses else failures + 1
            if failures >= _PATIENCE:
                raise MorseError(
                    f"The loss was not finite in {failures} steps in a row; training stopped."
                )
            self.step += 1
            self.log.losses(self.step, losses, rate=float(self.schedule.get_last_lr()[0]))
            bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()})
            bar.update()
            if self.step % self.config.validation.every == 0 or self.step == total:
                self._validate_and_save()
        if self._stop:
            self._save()
        bar.close()

    def _train_step(self, batches: Iterator[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """One optimiser step; the mean of each loss, or nothing if the step was skipped."""
        options, step = self.config.optimisation, self.step
        weights = {
            "sup": 1.0,
            "rend": render_weight(
                options.schedule, step, steps=options.iterations, peak=options.render_weight
            ),
        }
        active = tuple(name for name, weight in weights.items() if weight > 0)
        # torch's own dropout layers can only draw from the global generator.
        torch.manual_seed(seed_for(self.config.seed, "torch", step, self.world.rank))
        generator = generator_for(self.config.seed, "step", step, self.world.rank)
        self.objective.train()
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for micro in range(options.accumulate):
            image, labels = (x.to(self.world.device, non_blocking=True) for x in next(batches))
            if isinstance(self.objective, DistributedDataParallel):
                self.objective.require_backward_grad_sync = micro == options.accumulate - 1
            with autocast(self.world.device, options.precision):
                losses = self.objective(image, labels, active, generator)
            total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
            self.scaler.scale(total / options.accumulate).backward()
            for name, loss in {**losses, "total": total}.items():
                sums[name] = (
                    sums.get(name, torch.zeros_like(loss)) + loss.detach() / options.accumulate
                )
        return self._apply(sums)

    def _apply(self, sums: dict[str, Tensor]) -> dict[str, float]:
        means = {name: float(self.world.mean(value)) for name, value in sums.items()}
        is_finite = math.isfinite(means["total"])
        if is_finite:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimisation.clip)
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            log.warning("step %d skipped: the loss is not finite", self.step)
        self.schedule.step()
        return means if is_finite else {}

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches from the present step on; any number of ranks sees the same samples."""
        options, world = self.config.optimisation, self.world
        per_rank = options.batch_size * options.accumulate
        per_step = per_rank * world.size
        mine = [
            step * per_step + world.rank * per_rank + n
            for step in range(self.step, options.iterations)
            for n in range(per_rank)
        ]
        loader = DataLoader(
            Subset(self.samples, mine), batch_size=options.batch_size,
            num_workers=self.config.data.workers, pin_memory=world.device.type == "cuda",
        )  # fmt: skip
        yield from loader

    def _validate_and_save(self) -> None:
        if self.world.is_main:
            if self.val:
                summary = self.validator.summary(self.network, self.val)
                self.log.validation(self.step, summary)
                score = summary["refined"].mean.dice.mean
            else:
                score = float(self.step)  # without a validation split the last is the best
            if score > self.best:
                self.best = score
                self.store.save_best(self.network.state_dict())
        self._save()

    def _save(self) -> None:
        if self.world.is_main:
            trainer = {
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "scaler": self.scaler.state_dict(),
            }
            state = {"best": self.best, "fingerprint": self._fingerprint()}
            if not math.isfinite(self.best):
                state["best"] = None
            self.store.save(
                self.step, weights=self.network.state_dict(), trainer=trainer, state=state
            )
        self.world.wait()

    def _resume(self) -> None:
        state = self.store.state() if self.config.resume == "auto" else None
        if state is None:
            self.log.start(0)
            return
        mine = self._fingerprint()
        differing = sorted(k for k in mine if mine[k] != state.get("fingerprint", {}).get(k))
        if differing:
            raise ConfigError(
                f"The run in '{self.store.folder}' was started with another configuration "
                f"({', '.join(differing)}); resume with that one, or set resume=never."
            )
        weights, trainer = self.store.load(state)
        self.network.load_state_dict(weights)
        self.optimizer.load_state_dict(trainer["optimizer"])
        self.schedule.load_state_dict(trainer["schedule"])
        self.scaler.load_state_dict(trainer["scaler"])
        self.step = int(state["step"])
        self.best = -math.inf if state["best"] is None else float(state["best"])
        self.log.start(self.step)
        log.info("resumed at step %d", self.step)

    def _fingerprint(self) -> dict[str, Any]:
        """What a resumed run must have in common with its beginning."""
        data = encode(self.config)
        keys = ("preparation", "network", "sampler", "augmentation", "optimisation", "seed", "data")
        chosen = {key: data[key] for key in keys}
        chosen["data"] = {k: v for k, v in chosen["data"].items() if k != "workers"}
        return {**chosen, "processes": self.world.size}

    def _on_signal(self, *_: object) -> None:
        log.warning("asked to stop: finishing this step, then saving")
        self._stop = True
