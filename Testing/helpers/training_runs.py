"""Small training runs: configurations, prepared phantoms, and the command in its own process."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from MorseCore.config import decode
from MorseCore.images.preparation import normalise
from MorseCore.system.seeds import seed_for
from MorseCore.training.config import RunConfig
from MorseCore.training.dataset import PreparedCase
from MorseCore.training.distributed import ALONE, World
from MorseCore.training.phantoms import make_phantom
from MorseCore.training.samples import CropDataset
from MorseCore.training.trainer import Trainer
from MorseCore.training.validation import CaseValidation, Validator
from networks import BACKBONES, TINY_MORSE

REPOSITORY = Path(__file__).resolve().parents[2]
SIDE = 16


def run_data(**changes: object) -> dict:
    """The JSON object of a small run; ``section={...}`` merges into a section."""
    data: dict = {
        "name": "tiny",
        "device": "cpu",
        "data": {"dataset": "data/dataset.json", "split": "data/splits.json"},
        "preparation": {"window": [SIDE] * 3, "spacing": [1.0, 1.0, 1.0]},
        "network": {"spatial_dims": 3, "backbone": BACKBONES["unet3d"], "head": TINY_MORSE},
        "sampler": {"name": "uncertain", "points": 64},
        "augmentation": {"mirror_axes": [0, 1, 2]},
        "optimisation": {"iterations": 8, "batch_size": 1, "learning_rate": 0.003},
        "validation": {"every": 4},
        "renderer": {"points": 64, "passes": 2},
        "card": {
            "title": "Tiny phantom",
            "task": "A ball and a rod.",
            "modality": "any",
            "licence": "Apache-2.0",
            "data": "Phantoms of this repository.",
        },
    }
    for key, value in changes.items():
        merges = isinstance(value, dict) and key in data and "name" not in value
        data[key] = data[key] | value if merges else value
    return data


def run_config(**changes: object) -> RunConfig:
    return decode(RunConfig, run_data(**changes), "")


def flat_config(**changes: object) -> RunConfig:
    """A run on slices, which is quick."""
    network = {
        "spatial_dims": 2,
        "backbone": {"name": "unet3d", "channels": [8, 16]},
        "head": {**TINY_MORSE, "width": 16, "drop_rate": 0.3},
    }
    flat = {
        "network": network,
        "preparation": {"window": [SIDE] * 2, "spacing": [1.0, 1.0]},
        "augmentation": {"mirror_axes": [0, 1]},
    }
    return run_config(**(flat | changes))


def spoiled(case: PreparedCase) -> PreparedCase:
    """A case that makes the loss infinite or NaN (which no data set that is read can hold)."""
    image = np.full_like(case.image, np.inf)
    return replace(case, name="spoiled", image=image)


def phantom_cases(*seeds: int, dims: int = 3) -> list[PreparedCase]:
    config = run_config()
    cases = []
    for seed in seeds:
        image, labels = make_phantom(seed, shape=(SIDE,) * dims)
        image = normalise(image, config.preparation)
        if dims == 2:
            image, labels = image[None], labels[None]
        cases.append(PreparedCase(f"case_{seed}", image, labels, (1.0, 1.0, 1.0)))
    return cases


def make_trainer(
    config: RunConfig,
    folder: Path,
    *,
    train: list[PreparedCase],
    val: list[PreparedCase] | None = None,
    world: World = ALONE,
) -> Trainer:
    torch.manual_seed(seed_for(config.seed, "weights"))
    network = config.network.build(num_classes=3)
    validator = Validator(
        config.preparation.window_size, config.renderer.build(), config.windows, [1, 2]
    )
    options = config.optimisation
    samples = CropDataset(
        train, config.preparation.window_size, augmentation=config.augmentation,
        length=options.iterations * options.batch_size * options.accumulate * world.size,
        seed=config.seed, oversample=config.data.foreground, presample=config.sampler.presample,
    )  # fmt: skip
    validation = CaseValidation(validator, val) if val else None
    return Trainer(config, network, samples, validation, world, folder)


@contextmanager
def stop_after(steps: int) -> Iterator[None]:
    """Meanwhile a training is asked to stop after so many steps."""
    original = Trainer._train_step

    def step(self, batches):
        result = original(self, batches)
        self._stop = self._stop or self.step >= steps
        return result

    Trainer._train_step = step  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trainer._train_step = original  # type: ignore[method-assign]


def records(folder: Path) -> list[dict]:
    """``metrics.jsonl`` of a run."""
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def losses_of(folder: Path) -> list[float]:
    return [record["total"] for record in records(folder) if "total" in record]


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[key].double() - b[key].double()).abs().max()) for key in a)


def script(name: str) -> ModuleType:
    """A script in ``Training``, imported; it is no package."""
    spec = importlib.util.spec_from_file_location(f"_script_{name}", path_of(name))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def path_of(name: str) -> Path:
    """A script in front, or of the research rooms."""
    front = REPOSITORY / "Training" / f"{name}.py"
    return front if front.is_file() else REPOSITORY / "Training" / "research" / f"{name}.py"


def one_thread() -> dict[str, str]:
    """The bits of a sum depend on the number of threads: tests compute with one everywhere."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def start(arguments: list[str], *, cwd: Path) -> subprocess.Popen[str]:
    """``python Training/train.py`` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, str(path_of("train")), *arguments], cwd=cwd, env=one_thread(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        encoding="utf-8", errors="replace",
    )  # fmt: skip


def torchrun(
    arguments: list[str], *, cwd: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Two processes that know of each other."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run(
        [*command, *arguments], cwd=cwd, env=one_thread(), timeout=timeout, check=False,
        capture_output=True, text=True,
        encoding="utf-8", errors="replace",
    )  # fmt: skip
