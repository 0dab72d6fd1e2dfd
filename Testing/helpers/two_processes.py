"""What ``test_two_processes.py`` lets torchrun start: small runs, and what each process saw."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from MorseCore.errors import MorseError
from MorseCore.store.model_folder import save_weights
from MorseCore.training.distributed import World, join_world
from training_runs import flat_config, make_trainer, phantom_cases, spoiled


def together(folder: Path, world: World) -> dict:
    """An ordinary run; its weights are written by each process."""
    config = flat_config()
    trainer = make_trainer(
        config, folder, train=phantom_cases(0, 1, 2, dims=2), val=phantom_cases(9, 10, 11, dims=2),
        world=world,
    )  # fmt: skip
    finished = trainer.run()
    save_weights(folder / f"rank-{world.rank}.safetensors", trainer.network.state_dict())
    return {"finished": finished}


def stopped(folder: Path, world: World) -> dict:
    """Only the second process is told to stop."""
    config = flat_config(optimisation={"iterations": 100_000}, validation={"every": 100_000})
    trainer = make_trainer(config, folder, train=phantom_cases(0, 1, dims=2), world=world)
    take_step = trainer._train_step

    def step(batches: object) -> object:
        """The signal comes within the run, however slow the machine is to begin it."""
        losses = take_step(batches)
        if world.rank == 1 and trainer.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return losses

    trainer._train_step = step
    return {"finished": trainer.run(), "step": trainer.step}


def skipping(folder: Path, world: World) -> dict:
    """One case of four is spoiled: in every second step one process has it, the other not."""
    good = phantom_cases(0, 1, 2, dims=2)
    trainer = make_trainer(flat_config(), folder, train=[*good, spoiled(good[0])], world=world)
    trainer.run()
    weights = torch.cat([p.detach().flatten() for p in trainer.network.parameters()])
    return {"skipped": trainer.skipped, "sum": float(weights.double().sum())}


def apart(folder: Path, world: World) -> dict:
    """The processes look for the checkpoint in two places, and only one has it."""
    place = folder.parent / "together" if world.is_main else folder / "empty"
    config = flat_config(resume="auto")
    try:
        make_trainer(config, place, train=phantom_cases(0, 1, 2, dims=2), world=world).run()
    except MorseError as error:
        return {"error": str(error)}
    return {}


def exchange(folder: Path, world: World) -> dict:
    """The World's own functions."""
    value = torch.tensor([1.0, 10.0]) * (world.rank + 1)
    mine = torch.full((3,), float(world.rank + 5))
    world.copy_from_main([mine])
    return {
        "total": world.total(value).tolist(),
        "mean": world.mean(value).tolist(),
        "any": [world.any(world.rank == 1), world.any(False)],
        "copied": mine.tolist(),
        "kept": np.allclose(value, torch.tensor([1.0, 10.0]) * (world.rank + 1)),
    }


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    world = join_world("cpu")
    result = {}
    for scenario in (exchange, together, stopped, skipping, apart):
        place = folder / scenario.__name__
        place.mkdir(parents=True, exist_ok=True)
        result[scenario.__name__] = scenario(place, world)
    (folder / f"result-{world.rank}.json").write_text(json.dumps(result), encoding="utf-8")
    world.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
