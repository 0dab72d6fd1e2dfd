"""The run of a training: from a configuration to a model folder.

Writes ``<output>/<name>/``: checkpoints, ``metrics.jsonl``, TensorBoard curves, ``train.log``,
``worst.png`` of the last validation, and at the end ``curves.png``, the model folder ``model`` and
``figures.json``. A run that was interrupted goes on where it stopped, on a CPU to the bit.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from MorseCore.config import encode
from MorseCore.network import Network
from MorseCore.system.devices import resolve_precision
from MorseCore.system.files import only_training_in, prepare_output_directory, write_json
from MorseCore.system.memory import memory_limited
from MorseCore.system.seeds import seed_for
from MorseCore.training.config import RunConfig
from MorseCore.training.curves import draw_curves, try_drawing
from MorseCore.training.distributed import World, join_world
from MorseCore.training.export import export_model
from MorseCore.training.initialise import load_initial, with_warm_up
from MorseCore.training.monitor import Monitor, open_monitor
from MorseCore.training.needs import check_needs
from MorseCore.training.sources import Source, open_source
from MorseCore.training.trainer import FINISH, Trainer
from MorseCore.training.verdicts import fit_after_training

__all__ = ["CONFIG", "build_network", "run"]

CONFIG = "config.json"
"""The file in a run's folder with its configuration."""

log = logging.getLogger("train")


def run(
    config: RunConfig, *, command: str, export: bool = False, finish: bool = False
) -> int:  # fmt: skip
    """Train, then write the model folder with figures on the validation and the test split.

    :param export: do not train; write the model folder of the last checkpoint.
    :param finish: likewise, and call the training ended.
    """
    config = with_warm_up(config)
    world, accepted = join_world(config.device), config.acceptance()
    export = export or finish
    if not export:
        check_needs(config, world.device, accepted)
        if config.initialise:  # found now, not after the data were read
            load_initial(config.initialise)
    folder = Path(config.output) / config.name
    with ExitStack() as held:
        held.enter_context(memory_limited(world.device, accepted))
        if world.is_main:
            prepare_output_directory(folder)
            held.enter_context(only_training_in(folder))
            write_json(folder / CONFIG, encode(config))  # ``train RUN`` goes on by it
            (folder / FINISH).unlink(missing_ok=True)
        held.enter_context(logging_to(folder, world))
        source = open_source(config, world, accepted)
        network = build_network(config, len(source.labels))
        log.info("precision: %s", resolve_precision(world.device, config.optimisation.precision))
        monitor = monitor_of(config, source) if world.is_main else None
        trainer = Trainer(
            config, network, source.samples(), source.validation(), world, folder,
            monitor=monitor,
        )  # fmt: skip
        steps = trainer.load() if export else None
        is_finished = export or trainer.run() or trainer.is_asked_to_finish
        finish = finish or trainer.is_asked_to_finish
        steps = trainer.step if finish else steps
        world.leave()
        if is_finished and world.is_main:
            network.load_state_dict(trainer.chosen_weights())
            facts = source.facts(network, folder)
            export_model(
                folder / "model", config, facts, network, command=command, steps=steps,
                is_ended=finish,
            )  # fmt: skip
            (folder / FINISH).unlink(missing_ok=True)
            watched = {"watched": monitor.look(network, world.device)} if monitor else {}
            write_json(folder / "figures.json", facts.figures | watched)
            log.info("model folder: %s", folder / "model")
            fit_after_training(folder / "model", config, facts, device=str(world.device))
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
