"""The training loop: one process or many, resumable to the bit on a CPU.

Plain PyTorch. What a step draws depends on (seed, step) alone, so a run that was killed and
resumed ends with the same weights as one that was not. On a GPU the draws are the same, but some
gradients (of pooling, of up-sampling) are sums in no fixed order: the last bits may differ.
"""

import logging
import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from MorseCore.errors import Cancelled, ConfigError, ModelError, MorseError
from MorseCore.network import Network
from MorseCore.system.memory import is_out_of_memory
from MorseCore.system.signals import Interruption, ignore_interruption
from MorseCore.training.checkpoint import CheckpointStore
from MorseCore.training.config import RunConfig
from MorseCore.training.curves import WORST, draw_worst, try_drawing
from MorseCore.training.distributed import World
from MorseCore.training.identity import differences, fingerprint
from MorseCore.training.initialise import initialise
from MorseCore.training.log import RunLog, training_progress
from MorseCore.training.monitor import Monitor
from MorseCore.training.samples import Minibatch, Samples, StepSampler
from MorseCore.training.step import Batches, Stepper, is_trained, learning_rate
from MorseCore.training.validation import Figures, Validation

__all__ = ["FINISH", "Trainer"]

FINISH = "finish"
"""The file in a run's folder by which ``train RUN --finish`` asks the training to end."""

_PATIENCE = 20  # steps in a row without a finite loss before the run gives up
log = logging.getLogger(__name__)


class Trainer:
    """Trains one network on samples.

    Example::

        trainer = Trainer(config, network, samples, validation, world, folder)
        if trainer.run():                            # False: it was asked to stop
            weights = trainer.chosen_weights()
    """

    def __init__(
        self,
        config: RunConfig,
        network: Network,
        samples: Samples,
        validation: Validation | None,
        world: World,
        folder: Path,
        *,
        monitor: Monitor | None = None,
    ) -> None:
        """:param validation: None: nothing is set aside, and the last weights are the best."""
        self.config, self.network, self.world = config, network, world
        self._samples, self._validation, self._monitor = samples, validation, monitor
        self._stepper = Stepper(config, network, world)
        options = config.optimisation
        self._per_process = options.batch_size * options.accumulate
        self._fingerprint = fingerprint(config, samples.digest, processes=world.size)
        self.store, self._log = CheckpointStore(folder), RunLog(folder, enabled=world.is_main)
        self.step = 0
        """Steps done."""
        self.skipped = 0
        """Of these, how many changed nothing."""
        self.best = (False, -math.inf)
        """Of the best weights: whether the whole network was trained by then, and the mean DSC."""
        self._failures = 0  # skipped steps in a row
        self._is_validated = True  # the validation that the present step asks for is done
        self._is_tried = False  # a step of this process went through
        self._stop, self._interruption = False, Interruption()
        self._request = folder / FINISH

    def run(self) -> bool:
        """Train from where the last checkpoint stands; False if asked to stop on the way.

        :raises MorseError: if the loss is not finite for many steps in a row, a checkpoint does not
            fit or cannot be written, or another process is gone.
        """
        devices = [self.world.device] if self.world.device.type == "cuda" else []
        try:
            with self._interruption, torch.random.fork_rng(devices):
                self._resume()
                self._loop()
        finally:
            self._log.close()
        return self.step >= self.config.optimisation.iterations and self._is_validated

    @property
    def is_asked_to_finish(self) -> bool:
        """Whether a person asked, by a file in the run's folder, to end with what is there."""
        return self._request.exists()

    def chosen_weights(self) -> dict[str, Tensor]:
        """The weights for the model folder: the best, or the last if none were chosen.

        Their running average, where one is kept.
        """
        best = self.store.load_best() if self.config.validation.keep == "best" else None
        if best is not None:
            return best
        with self._stepper.averaged():
            return {name: value.clone() for name, value in self.network.state_dict().items()}

    def load(self) -> int:
        """Take the weights of the last checkpoint, to export them; how many steps they have.

        :raises MorseError: if there is no checkpoint, or it does not fit.
        """
        state = self.store.state()
        if state is None:
            raise MorseError(f"There is no checkpoint in '{self.store.folder}'.")
        self._restore(state)
        return self.step

    def _loop(self) -> None:
        total, every = self.config.optimisation.iterations, self.config.validation.every
        saved = self.step
        if not self._is_validated:
            self._validate()
        with (
            closing(self._batches()) as batches,
            training_progress(
                self.config.name,
                start=self.step,
                total=total,
                enabled=self.world.is_main,
                folder=self.store.folder,
            ) as tell,
        ):
            while self.step < total and not self._stop:
                losses = self._train_step(batches)
                tell(self.step, losses)
                if self.step % every == 0 or self.step == total:
                    saved = self.step
                    self._is_validated = self._validation is None
                    self._save()  # before validation, so that a kill during it costs no training
                    self._validate()
        if self._stop:
            if self.step > saved:
                self._save()
            log.warning(
                "asked to %s: saved at step %d of %d; run it again to go on",
                "finish" if self.is_asked_to_finish else "stop", self.step, total,
            )  # fmt: skip

    def _train_step(self, batches: Batches) -> Mapping[str, float]:
        """One step, written down; its losses."""
        with self._first_explained():
            asked = self._interruption.asked or self.is_asked_to_finish
            result = self._stepper.step(self.step, batches, asked=asked)
        self._is_tried = True
        self._stop = result.stop
        self.step += 1
        if result.losses:
            self._failures = 0
            rate = learning_rate(self.step - 1, self.config.optimisation)
            self._log.losses(self.step, result.losses, rate=rate)
            return result.losses
        self._failures += 1
        self.skipped += 1
        self._log.skipped(self.step, count=self.skipped)
        if self._failures >= _PATIENCE:
            raise MorseError(
                f"The loss was not finite in {self._failures} steps in a row, up to step "
                f"{self.step}; try a smaller optimisation.learning_rate, or "
                "optimisation.precision=fp32."
            )
        return {}

    @contextmanager
    def _first_explained(self) -> Iterator[None]:
        """What torch says in the first step of a network that cannot be trained with such data.

        :raises ConfigError: with its words. Later, and where several processes wait for each other,
            an error has other reasons.
        """
        try:
            yield
        except (ValueError, RuntimeError) as error:
            is_ours = isinstance(error, MorseError | torch.AcceleratorError)
            if self._is_tried or self.world.size > 1 or is_ours or is_out_of_memory(error):
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise ConfigError(
                f"The network cannot be trained with these sizes of window, batch and layers: "
                f"{reason}."
            ) from error

    def _batches(self) -> Generator[Minibatch, None, None]:
        """Batches from the present step on."""
        options, world = self.config.optimisation, self.world
        is_pinned = world.device.type == "cuda" and self._samples.is_on_cpu
        mine = StepSampler(
            first_step=self.step, steps=options.iterations, per_process=self._per_process,
            rank=world.rank, processes=world.size,
        )  # fmt: skip
        yield from DataLoader(
            self._samples, sampler=mine, batch_size=options.batch_size,
            num_workers=self.config.data.workers, pin_memory=is_pinned,
            worker_init_fn=ignore_interruption, generator=torch.Generator(),
        )  # fmt: skip

    def _validate(self) -> None:
        """Score the validation split and keep the weights if they are the best so far."""
        if self._validation is None:
            return
        self.world.copy_from_main(self.network.buffers())  # batch statistics are each process's own
        try:
            with self._stepper.averaged():
                figures = self._validation.measure(
                    self.network, world=self.world,
                    should_stop=lambda: self._stop or self._interruption.asked,
                )  # fmt: skip
                self._is_validated = True
                self._draw(figures)
                if self.world.is_main:
                    self._log.validation(self.step, figures)
                    self._keep_best(figures)
                    self._watch()
        except Cancelled:
            self._stop = True
            return
        if self.world.is_main:
            self.store.save_state(self._state())
        self.world.wait()

    def _draw(self, figures: Figures) -> None:
        """Picture the worst case, on the process that looked at it."""
        if (worst := figures.worst) is not None:
            picture = self.store.folder / WORST
            try_drawing(lambda: draw_worst(worst, picture, step=self.step))

    def _watch(self) -> None:
        """Look at real scans, now and then; what is found decides nothing."""
        is_last = self.step == self.config.optimisation.iterations
        is_due = is_last or self.step % self.config.validation.monitor_every == 0
        if self._monitor is not None and is_due:
            self._log.monitored(self.step, self._monitor.look(self.network, self.world.device))

    def _keep_best(self, figures: Figures) -> None:
        """Weights of before the rendering head was trained give way to any of after it."""
        trained = is_trained(self.network.head.loss_weights, self.step, self.config.optimisation)
        stage = "refined" if trained else "coarse"
        score = (trained, figures.means[stage]["dice"])
        if score > self.best:
            self.best = score
            self.store.save_best(self.network.state_dict())

    def _save(self) -> None:
        if self.world.is_main:
            self.store.save(
                self.step, weights=self.network.state_dict(), trainer=self._stepper.state_dict(),
                state=self._state(),
            )  # fmt: skip
        self.world.wait()

    def _state(self) -> dict[str, Any]:
        is_trained, score = self.best
        return {
            "best": score if math.isfinite(score) else None,
            "best_is_trained": is_trained,
            "skipped": self.skipped,
            "failures": self._failures,
            "validated": self._is_validated,
            "fingerprint": self._fingerprint,
        }

    def _resume(self) -> None:
        state = self.store.state() if self.config.resume == "auto" else None
        step = 0 if state is None else int(state["step"])
        seen = self.world.mean(torch.tensor(float(step), dtype=torch.float64)).item()
        if self.world.any(seen != step):
            raise MorseError(
                f"The processes do not see the same checkpoint in '{self.store.folder}'; the "
                "folder must be on a disk that all machines share."
            )
        if state is not None:
            self._restore(state)
        else:
            if self.world.is_main:
                self.store.clear()
            if self.config.initialise:
                initialise(self.network, self.config.initialise)
                self._stepper.begin_average()
        self._log.start(self.step, validated=self._is_validated)

    def _restore(self, state: Mapping[str, Any]) -> None:
        changed = differences(state.get("fingerprint", {}), self._fingerprint)
        if changed:
            raise ConfigError(
                f"The run in '{self.store.folder}' began otherwise: {'; '.join(changed)}. "
                "Go on as it began, or start anew with resume=never."
            )
        weights, trainer = self.store.load(dict(state))
        try:
            self.network.load_state_dict(weights)
            self._stepper.load_state_dict(trainer)
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(
                f"The checkpoint in '{self.store.folder}' does not fit the network: "
                f"{str(error).strip().splitlines()[0]}"
            ) from error
        score = -math.inf if state.get("best") is None else float(state["best"])
        self.best = (bool(state.get("best_is_trained", False)), score)
        self.step = int(state["step"])
        self.skipped, self._failures = state.get("skipped", 0), state.get("failures", 0)
        self._is_validated = bool(state.get("validated", True))
        log.info("resumed at step %d", self.step)
