"""Train a model on scans with labels, or on label maps alone.

    python Training/train.py Training/configs/hippocampus-t1.json
    python Training/train.py CONFIG optimisation.iterations=3000 device=cuda:0
    python Training/train.py Training/configs/brain-mr.json output=../runs
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

from MorseCore.config import apply_overrides, decode, read_json
from MorseCore.errors import ConfigError, MorseError
from MorseCore.losses import POINT_LOSSES
from MorseCore.network import Network
from MorseCore.system.allocation import keep_freed_memory
from MorseCore.system.devices import resolve_precision
from MorseCore.system.files import only_training_in, prepare_output_directory, write_json
from MorseCore.system.memory import is_out_of_memory
from MorseCore.system.seeds import seed_for
from MorseCore.training.config import RunConfig
from MorseCore.training.dataset import open_dataset
from MorseCore.training.distributed import ALONE, World, join_world
from MorseCore.training.export import describe_structures, export_model
from MorseCore.training.finishing import finish_rendering
from MorseCore.training.initialise import with_warm_up
from MorseCore.training.monitor import Monitor, open_monitor
from MorseCore.training.sources import GeneratedSource, ImageSource, Source
from MorseCore.training.trainer import Trainer
from Training.research.study.curves import draw_curves
from Training.research.study.pictures import try_drawing
from Training.research.study.subjects import subjects_of, with_share

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
    parser.add_argument(
        "--export", action="store_true",
        help="do not train: write the model folder of the last checkpoint, marked preliminary",
    )  # fmt: skip
    keep_freed_memory()
    options = parser.parse_args(arguments)
    words = ["python", "Training/train.py", options.config.as_posix(), *options.overrides]
    try:
        data = apply_overrides(read_json(options.config), options.overrides)
        return run(decode(RunConfig, data, ""), command=shlex.join(words), export=options.export)
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


def run(config: RunConfig, *, command: str, export: bool = False) -> int:
    """Train, then write the model folder with figures on the validation and the test split.

    :param export: do not train; write the model folder of the last checkpoint.
    """
    config = with_warm_up(config)
    world = join_world(config.device)
    folder = Path(config.output) / config.name
    with ExitStack() as held:
        if world.is_main:
            prepare_output_directory(folder)
            held.enter_context(only_training_in(folder))
        held.enter_context(logging_to(folder, world))
        source = open_source(config, world)
        network = build_network(config, len(source.labels))
        log.info("precision: %s", resolve_precision(world.device, config.optimisation.precision))
        trainer = Trainer(
            config, network, source.samples(), source.validation(), world, folder,
            monitor=monitor_of(config, source) if world.is_main and not export else None,
        )  # fmt: skip
        steps = trainer.load() if export else None
        is_finished = export or trainer.run()
        world.leave()
        if is_finished and world.is_main:
            network.load_state_dict(trainer.chosen_weights())
            if not export:
                finish(config, network, trainer, source)
            facts = source.facts(network, folder)
            export_model(folder / "model", config, facts, network, command=command, steps=steps)
            write_json(folder / "figures.json", facts.figures)
            log.info("model folder: %s", folder / "model")
        if world.is_main:
            try_drawing(lambda: draw_curves(folder / "metrics.jsonl", folder / "curves.png"))
    return 0 if is_finished else 1


def open_source(config: RunConfig, world: World) -> Source:
    """The data. A mistake in what the card says of them is found now, not after the training."""
    if config.data.source == "generated":
        source: Source = GeneratedSource(config, world)
        describe_structures(config, source.labels)
        return source
    data = open_dataset(Path(config.data.dataset), Path(config.data.split), fold=config.data.fold)
    data = with_share(data, subjects_of(Path(config.data.dataset)), config)
    describe_structures(config, data.labels)
    return ImageSource(data, config, world)


def monitor_of(config: RunConfig, source: Source) -> Monitor | None:
    """The real scans that are watched, if the configuration names any."""
    if not config.validation.monitor:
        return None
    return open_monitor(
        Path(config.validation.monitor), source.labels, preparation=config.preparation,
        windows=config.windows, precision=config.optimisation.precision,
    )  # fmt: skip


def finish(config: RunConfig, network: Network, trainer: Trainer, source: Source) -> None:
    """Train the rendering head alone, if asked to; undone if the validation split gets worse."""
    options, validation = config.optimisation, source.validation()
    if not options.finishing or not network.head.rendering_parameters():
        return
    before = {name: value.clone() for name, value in network.state_dict().items()}
    measured = [] if validation is None else [validation.measure(network, world=ALONE)]
    finish_rendering(
        network, trainer.further_batches(options.finishing), sampler=config.sampler.build(),
        steps=options.finishing, learning_rate=options.finishing_rate, clip=options.clip,
        seed=config.seed, stride=options.supervision_stride,
        point_loss=POINT_LOSSES[options.finishing_loss],
    )  # fmt: skip
    if validation is not None:
        measured.append(validation.measure(network, world=ALONE))
        scores = [figures.means["refined"]["dice"] for figures in measured]
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


def build_network(config: RunConfig, num_classes: int) -> Network:
    """The network with its first weights.

    :raises ConfigError: if a window does not suit it.
    """
    torch.manual_seed(seed_for(config.seed, "weights"))
    network = config.network.build(num_classes=num_classes)
    network.check_size(config.preparation.window_size, what="'preparation.window'")
    for part in config.generation.windows:
        network.check_size(part.window[::-1], what="each of 'generation.windows'")
    log.info("%d parameters", sum(p.numel() for p in network.parameters()))
    return network


if __name__ == "__main__":
    sys.exit(main())
