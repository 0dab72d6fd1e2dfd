"""Train a model on a data set in the Medical Segmentation Decathlon layout.

    python Training/train.py Training/configs/hippocampus-t1.json
    python Training/train.py CONFIG optimisation.iterations=3000 device=cuda:0
    torchrun --nproc-per-node 4 Training/train.py CONFIG
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-endpoint HOST:29500 Training/train.py CONFIG

Writes ``<output>/<name>/``: checkpoints, ``metrics.jsonl``, TensorBoard curves, ``train.log``, and
at the end ``curves.png``, the model folder ``model`` and ``figures.json``. Run it again after an
interruption: it goes on where it stopped, on a CPU to the bit. Ctrl-C or SIGTERM finish the step
and save first. With several machines the output folder must be on a disk that all of them share.
"""

import argparse
import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, not installed

import torch
from tqdm import tqdm

from MorseCore.allocation import keep_freed_memory
from MorseCore.config import apply_overrides, decode, read_json
from MorseCore.errors import ConfigError, MorseError
from MorseCore.files import prepare_output_directory, write_json
from MorseCore.learning.dataset import (
    Decathlon,
    PreparedCase,
    absent_labels,
    open_dataset,
    prepare_case,
)
from MorseCore.learning.distributed import World, join_world
from MorseCore.learning.export import describe_structures, export_model
from MorseCore.learning.finishing import finish_rendering
from MorseCore.learning.runlock import only_training_in
from MorseCore.learning.training import Trainer
from MorseCore.learning.training_config import RunConfig
from MorseCore.learning.validation import Validator
from MorseCore.losses import POINT_LOSSES
from MorseCore.memory import is_out_of_memory
from MorseCore.network import Network
from MorseCore.precision import resolve_precision
from MorseCore.seeds import seed_for
from Training.study.curves import draw_curves
from Training.study.pictures import try_drawing
from Training.study.subjects import subjects_of, with_share

log = logging.getLogger("train")


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: finished; 1: failed or stopped; 2: a faulty configuration."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="JSON file, see Training/configs")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="a.b=value replaces a key"
    )
    keep_freed_memory()
    options = parser.parse_args(arguments)
    words = ["python", "Training/train.py", options.config.as_posix(), *options.overrides]
    try:
        data = apply_overrides(read_json(options.config), options.overrides)
        return run(decode(RunConfig, data, ""), command=shlex.join(words))
    except MorseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(
            "error: There is too little memory; halve optimisation.batch_size and double "
            "optimisation.accumulate, or choose a smaller preparation.window.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("error: Stopped; what was done since the last checkpoint is lost.", file=sys.stderr)
        return 1


def run(config: RunConfig, *, command: str) -> int:
    """Train, then write the model folder with figures on the validation and the test split."""
    world = join_world(config.device)
    folder = Path(config.output) / config.name
    with ExitStack() as held:
        if world.is_main:
            prepare_output_directory(folder)
            held.enter_context(only_training_in(folder))
        held.enter_context(logging_to(folder, world))
        data = open_dataset(
            Path(config.data.dataset), Path(config.data.split), fold=config.data.fold
        )
        data = with_share(data, subjects_of(Path(config.data.dataset)), config)
        describe_structures(config, data)  # a mistake there is to be found before the training
        network = build_network(config, data)
        # The test split is read now, too: hours later is too late to find that a file is damaged.
        train, val, test = (prepare(data, part, config, world) for part in data.splits)
        for value in absent_labels(train, num_classes=data.num_classes):
            log.warning("no training case holds '%s'", data.labels[value])
        validator = Validator(
            config.preparation.window_size, config.renderer.build(), config.windows,
            [value for value in data.labels if value], config.optimisation.precision,
        )  # fmt: skip
        log.info("precision: %s", resolve_precision(world.device, config.optimisation.precision))
        trainer = Trainer(config, network, train, val, validator, world, folder)
        is_finished = trainer.run()
        world.leave()
        if is_finished and world.is_main:
            network.load_state_dict(trainer.chosen_weights())
            finish(config, network, trainer, validator, val)
            figures = export_model(
                folder / "model", config, data, network, validator, val=val, test=test,
                command=command, field_of_view=extent(train),
            )  # fmt: skip
            write_json(folder / "figures.json", figures)
            log.info("model folder: %s", folder / "model")
        if world.is_main:
            try_drawing(lambda: draw_curves(folder / "metrics.jsonl", folder / "curves.png"))
    return 0 if is_finished else 1


def finish(
    config: RunConfig,
    network: Network,
    trainer: Trainer,
    validator: Validator,
    val: list[PreparedCase],
) -> None:
    """Train the rendering head alone, if asked to; undone if the validation split gets worse."""
    options = config.optimisation
    if not options.finishing or not network.head.rendering_parameters():
        return
    before = {name: value.clone() for name, value in network.state_dict().items()}
    scores = [validator.summary(network, val)["refined"].mean.dice.mean] if val else []
    finish_rendering(
        network, trainer.further_batches(options.finishing), sampler=config.sampler.build(),
        steps=options.finishing, learning_rate=options.finishing_rate, clip=options.clip,
        seed=config.seed, stride=options.supervision_stride,
        point_loss=POINT_LOSSES[options.finishing_loss],
    )  # fmt: skip
    if val:
        scores.append(validator.summary(network, val)["refined"].mean.dice.mean)
        log.info("finishing: DSC of the refined masks %.5f before, %.5f after", *scores)
        if scores[1] < scores[0]:
            network.load_state_dict(before)
            log.info("finishing did not help on the validation split and is undone")


@contextmanager
def logging_to(folder: Path, world: World) -> Iterator[None]:
    """The main process logs to the terminal and to ``train.log``, the others only warn."""
    root = logging.getLogger()
    before = root.level
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    root.setLevel(logging.INFO if world.is_main else logging.WARNING)
    handler: logging.Handler = logging.NullHandler()
    if world.is_main:
        handler = logging.FileHandler(folder / "train.log", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        handler.close()


def build_network(config: RunConfig, data: Decathlon) -> Network:
    """The network with its first weights.

    :raises ConfigError: if the window does not suit it.
    """
    torch.manual_seed(seed_for(config.seed, "weights"))
    network = config.network.build(num_classes=data.num_classes)
    network.check_size(config.preparation.window_size, what="'preparation.window'")
    log.info("%d parameters", sum(p.numel() for p in network.parameters()))
    return network


def prepare(data: Decathlon, part: str, config: RunConfig, world: World) -> list[PreparedCase]:
    """The cases of a split on the model's grid. Only the main process has any use for ``test``."""
    cases = data.splits[part] if world.is_main or part != "test" else ()
    log.info("%s: %d cases", part, len(cases))
    bar = tqdm(cases, desc=part, unit="case", leave=False, disable=None if world.is_main else True)
    return [prepare_case(case, config.preparation, num_classes=data.num_classes) for case in bar]


def extent(cases: list[PreparedCase]) -> tuple[float, ...]:
    """Largest extent in mm along x, y, z of the training images."""
    extents = [[n * mm for n, mm in zip(c.image.shape, c.spacing, strict=True)] for c in cases]
    return tuple(round(max(axis), 1) for axis in reversed(list(zip(*extents, strict=True))))


if __name__ == "__main__":
    sys.exit(main())
