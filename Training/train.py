"""Train a model on a data set in the Medical Segmentation Decathlon layout.

    python Training/train.py Training/configs/hippocampus-t1.json
    python Training/train.py CONFIG optimisation.iterations=3000 device=cuda:0
    torchrun --nproc-per-node 4 Training/train.py CONFIG

Writes ``<output>/<name>/``: checkpoints, ``metrics.jsonl``, TensorBoard curves, and at the end the
model folder ``<output>/<name>/model``. Run it again after an interruption: it goes on.
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, not installed

from MorseCore.config import apply_overrides, decode, read_json
from MorseCore.dataset import Decathlon, PreparedCase, open_dataset, prepare_case
from MorseCore.distributed import World, join_world
from MorseCore.errors import MorseError
from MorseCore.export import export_model
from MorseCore.files import prepare_output_directory, write_json
from MorseCore.seeds import seed_for
from MorseCore.training import Trainer
from MorseCore.training_config import RunConfig
from MorseCore.validation import Validator

log = logging.getLogger("train")


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: finished; 1: failed or stopped; 2: a faulty configuration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="JSON file, see Training/configs")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="a.b=value replaces a key"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        config = decode(
            RunConfig, apply_overrides(read_json(options.config), options.overrides), ""
        )
    except MorseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        return run(config, command=" ".join(["python Training/train.py", *_words(options)]))
    except MorseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run(config: RunConfig, *, command: str) -> int:
    """Train, then write the model folder with figures on the validation and the test split."""
    import torch

    world = join_world(config.device)
    folder = Path(config.output) / config.name
    if world.is_main:
        prepare_output_directory(folder)
        logging.getLogger().addHandler(logging.FileHandler(folder / "train.log", encoding="utf-8"))
    data = open_dataset(Path(config.data.dataset), Path(config.data.split), fold=config.data.fold)
    train, val = (_prepare(data, part, config, world) for part in ("train", "val"))
    torch.manual_seed(seed_for(config.seed, "weights"))
    network = config.network.build(num_classes=data.num_classes)
    log.info("%d parameters", sum(p.numel() for p in network.parameters()))
    validator = Validator(
        config.preparation.window_size, config.renderer.build(), config.windows,
        [value for value in data.labels if value], config.optimisation.precision,
    )  # fmt: skip
    trainer = Trainer(config, network, train, val, validator, world, folder)
    finished = trainer.run()
    if finished and world.is_main:
        if config.validation.keep == "best":
            network.load_state_dict(trainer.store.load_best())
        test = _prepare(data, "test", config, world)
        report = export_model(
            folder / "model", config, data, network, validator, val=val, test=test,
            command=command, field_of_view=_extent(train),
        )  # fmt: skip
        write_json(folder / "figures.json", report)
        log.info("model folder: %s", folder / "model")
    world.leave()
    return 0 if finished else 1


def _prepare(data: Decathlon, part: str, config: RunConfig, world: World) -> list[PreparedCase]:
    cases = data.splits[part]
    if world.is_main:
        log.info("%s: %d cases", part, len(cases))
    return [prepare_case(case, config.preparation, num_classes=data.num_classes) for case in cases]


def _extent(cases: list[PreparedCase]) -> tuple[float, ...]:
    """Largest extent in mm along x, y, z of the training images."""
    extents = [[n * mm for n, mm in zip(c.image.shape, c.spacing, strict=True)] for c in cases]
    return tuple(round(max(axis), 1) for axis in reversed(list(zip(*extents, strict=True))))


def _words(options: argparse.Namespace) -> list[str]:
    return [options.config.as_posix(), *options.overrides]


if __name__ == "__main__":
    sys.exit(main())
