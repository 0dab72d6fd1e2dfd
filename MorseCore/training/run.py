"""The run of a training: from a configuration to a model folder.

Writes ``<output>/<name>/``: checkpoints, ``metrics.jsonl``, TensorBoard curves, ``train.log``, and
at the end ``curves.png``, the model folder ``model`` and ``figures.json``. A run that was
interrupted goes on where it stopped, on a CPU to the bit.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

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
from MorseCore.training.curves import draw_curves, try_drawing
from MorseCore.training.distributed import ALONE, World, join_world
from MorseCore.training.export import export_model
from MorseCore.training.finishing import finish_rendering
from MorseCore.training.initialise import with_warm_up
from MorseCore.training.monitor import Monitor, open_monitor
from MorseCore.training.sources import Source, open_source
from MorseCore.training.trainer import Trainer

__all__ = ["build_network", "run", "train"]

log = logging.getLogger("train")


def train(path: Path, overrides: Sequence[str], *, command: str, export: bool = False) -> int:
    """Train by a configuration file; every failure becomes one sentence on stderr.

    :param overrides: ``key=value``; ``a.b=value`` replaces a key.
    :param command: what was typed, for the model's card.
    :param export: do not train; write the model folder of the last checkpoint.
    :return: the process's exit code: 0 finished, 1 failed or stopped, 2 a faulty configuration.
    """
    keep_freed_memory()
    try:
        config = decode(RunConfig, apply_overrides(read_json(path), list(overrides)), "")
        return run(config, command=command, export=export)
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
