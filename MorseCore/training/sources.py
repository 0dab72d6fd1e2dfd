"""Where a training's samples come from: scans with labels, or label maps alone."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil, prod
from pathlib import Path
from typing import Protocol

import torch

from MorseCore.errors import ConfigError, DatasetError
from MorseCore.metrics.subjects import subjects_of
from MorseCore.network import Network
from MorseCore.quality.fitting import add_volumes
from MorseCore.system.acceptance import NOTHING, Acceptance
from MorseCore.system.seeds import generator_for
from MorseCore.training.augmentation import swapped_labels
from MorseCore.training.config import RunConfig
from MorseCore.training.dataset import (
    Decathlon,
    PreparedCase,
    absent_labels,
    check_shared,
    open_dataset,
    prepare_case,
)
from MorseCore.training.distributed import World
from MorseCore.training.export import describe_structures, measure_cases
from MorseCore.training.generated.images import GeneratedDataset, ImageGenerator
from MorseCore.training.generated.label_maps import (
    LabelMap,
    MapFiles,
    find_label_maps,
    read_label_map,
    table_for,
)
from MorseCore.training.generated.label_table import LabelTable
from MorseCore.training.generated.validation import GeneratedValidation
from MorseCore.training.log import reading_progress
from MorseCore.training.samples import CropDataset, MixedSamples, Samples
from MorseCore.training.validation import CaseValidation, DataFacts, Validation, Validator

__all__ = [
    "GeneratedSource",
    "ScanSource",
    "Source",
    "open_source",
    "training_samples",
    "with_share",
]

_DRAWN = 60  # deformed label maps whose volumes count
log = logging.getLogger(__name__)


class Source(Protocol):
    """What a training needs to know of its data."""

    labels: dict[int, str]
    """Value -> name, background (0) included, 0 … C-1."""

    def samples(self) -> Samples:
        """What is learned from."""
        ...

    def validation(self) -> Validation | None:
        """What is set aside; None if nothing is."""
        ...

    def facts(self, network: Network, folder: Path) -> DataFacts:
        """For the card, the network's figures included; tables of cases go into the folder."""
        ...


class ScanSource:
    """Scans with labels, of a ``dataset.json``.

    :raises DatasetError: if a case cannot be read, or one of the training is in another split, too,
        under whatever name. The test split is read now, too: hours later is too late to find that a
        file is damaged.
    :raises ConfigError: if the configuration speaks of structures that the data set lacks.
    """

    def __init__(
        self, data: Decathlon, config: RunConfig, world: World, accepted: Acceptance = NOTHING
    ) -> None:
        self._data, self._config, self._world = data, config, world
        self.labels, self._accepted = data.labels, accepted
        swapped_labels(config.augmentation, data.labels)  # a mistake is found before files are read
        self._train, self._val, self._test = (self._prepared(part) for part in data.splits)
        check_shared(self._train, {"val": self._val, "test": self._test}, accepted)
        for value in absent_labels(self._train, num_classes=data.num_classes):
            log.warning("no training case holds '%s'", data.labels[value])
        self._validator = Validator(
            config.preparation.window_size, config.renderer.build(), config.windows,
            [value for value in data.labels if value], config.optimisation.precision,
        )  # fmt: skip

    def samples(self) -> Samples:
        """See :func:`training_samples`."""
        return training_samples(self._config, self._data, self._train, self._world)

    def validation(self) -> Validation | None:
        """The validation split, scored by the predictor's own path."""
        return CaseValidation(self._validator, self._val, self.labels) if self._val else None

    def facts(self, network: Network, folder: Path) -> DataFacts:
        """Scores on both splits, also as ``scores-validation.csv`` and ``scores-test.csv``."""
        figures = {
            name: measure_cases(folder / f"scores-{name}.csv", network, self._validator, cases,
                                self.labels)
            for name, cases in (("validation", self._val), ("test", self._test)) if cases
        }  # fmt: skip
        splits = {name: len(cases) for name, cases in self._data.splits.items()}
        return DataFacts(
            self.labels, splits, self._data.licence, figures, extent(self._train),
            accepted=tuple(self._accepted.used), volumes=volumes_of(self._train),
            channels=self._data.channels,
        )  # fmt: skip

    def _prepared(self, part: str) -> list[PreparedCase]:
        """The cases of a split on the model's grid. Only the main process needs ``test``."""
        world, config = self._world, self._config
        cases = self._data.splits[part] if world.is_main or part != "test" else ()
        log.info("%s: %d cases", part, len(cases))
        bar = reading_progress(cases, part, enabled=world.is_main)
        return [
            replace(
                prepare_case(
                    case, config.preparation, num_classes=self._data.num_classes,
                    accepted=self._accepted,
                ),
                unannotated=self._data.values_of(case.unannotated),
            ) for case in bar
        ]  # fmt: skip


def training_samples(
    config: RunConfig, data: Decathlon, cases: Sequence[PreparedCase], world: World
) -> Samples:
    """Crops of training cases; ``data.generated_share`` of the batches are generated instead.

    :param cases: of ``data``, prepared.
    :raises DatasetError: if a label map is not fit to generate images from.
    """
    length = _length(config, world)
    crops = CropDataset(
        cases, config.preparation.window_size, augmentation=config.augmentation, length=length,
        seed=config.seed, oversample=config.data.foreground, presample=config.sampler.presample,
        swapped=swapped_labels(config.augmentation, data.labels),
    )  # fmt: skip
    if not config.data.generated_share:
        return crops
    # What was not annotated would be drawn as background; an empty map shows nothing.
    drawn = {case.name for case in cases if case.labels.any()}
    whole = {case.name: case.label for case in data.splits["train"]
             if case.name in drawn and not case.unannotated}  # fmt: skip
    if not whole:
        raise DatasetError(
            "In every training case a structure is not annotated, so that no image can be "
            "generated; data.generated_share=0 trains without."
        )
    files = MapFiles(whole, {}, {name: value for value, name in data.labels.items() if value})
    table = table_for(files, config.generation, pairs=config.augmentation.mirror_pairs)
    generated = GeneratedDataset(
        _read_maps(whole, table, config, world),
        ImageGenerator(table, config.preparation, config.generation),
        windows=[(config.preparation.window_size, 1.0)], length=length,
        batch_size=config.optimisation.batch_size, seed=config.seed,
    )  # fmt: skip
    return MixedSamples(
        crops, generated, share=config.data.generated_share,
        batch_size=config.optimisation.batch_size, seed=config.seed,
    )  # fmt: skip


def _read_maps(
    files: Mapping[str, Path], table: LabelTable, config: RunConfig, world: World
) -> list[LabelMap]:
    """On the device, unless processes beside the training draw: they cannot share its memory."""
    maps = [read_label_map(name, path, table) for name, path in files.items()]
    return [part.to(world.device) for part in maps] if config.data.workers == 0 else maps


class GeneratedSource:
    """Images drawn from label maps.

    :raises DatasetError: if a label map cannot be read or holds what the configuration does not
        name.
    :raises ConfigError: if the configuration cannot be used for generated images.
    """

    def __init__(self, config: RunConfig, world: World, accepted: Acceptance = NOTHING) -> None:
        self._config, self._world, self._accepted = config, world, accepted
        split = Path(config.data.split) if config.data.split else None
        files = find_label_maps(Path(config.data.labels), split, fold=config.data.fold)
        pairs = config.augmentation.mirror_pairs
        self._table = table_for(files, config.generation, pairs=pairs)
        self.labels = self._table.names
        self._draw = ImageGenerator(self._table, config.preparation, config.generation)
        self._train, self._val = (
            _read_maps(part, self._table, config, world) for part in (files.train, files.val)
        )
        if files.train.keys() != files.val.keys():  # else there is one map alone
            check_shared(self._train, {"val": self._val}, accepted)
        self.splits = {"train": len(self._train), "val": len(self._val), "test": 0}
        """Number of label maps."""

    def samples(self) -> Samples:
        """Images drawn at every step anew."""
        config = self._config
        windows = [(part.window[::-1], part.share) for part in config.generation.windows]
        return GeneratedDataset(
            self._train, self._draw, windows=windows or [(config.preparation.window_size, 1.0)],
            length=_length(config, self._world), batch_size=config.optimisation.batch_size,
            seed=config.seed,
        )  # fmt: skip

    def validation(self) -> GeneratedValidation | None:
        """Images that are drawn once, from the maps set aside."""
        config = self._config
        if not self._val:
            return None
        return GeneratedValidation(
            self._val, self._draw, count=config.generation.validation_images, seed=config.seed,
            renderer=config.renderer.build(), precision=config.optimisation.precision,
        )  # fmt: skip

    def facts(self, network: Network, folder: Path) -> DataFacts:
        """DSC of each structure on the images set aside."""
        validation = self.validation()
        figures = {}
        if validation is not None:
            found = validation.measure(network, world=self._world)
            rows = {name: {"dice": dice} for name, dice in found.structures.items()}
            mean = {"mean": {"dice": round(found.means["refined"]["dice"], 5)}}
            figures["validation"] = {"refined": rows | mean}
        return DataFacts(
            self.labels, self.splits, self._config.card.licence, figures, is_generated=True,
            accepted=tuple(self._accepted.used), volumes=self._volumes(),
        )  # fmt: skip

    def _volumes(self) -> dict[int, list[float]]:
        """ml of each label, and of all (0), in every map, deformed.

        Those set aside are too few and too alike: their volumes alone called good scans odd.
        """
        found: dict[int, list[float]] = {}
        maps, ml = [*self._train, *self._val], prod(self._draw.spacing) / 1000
        for n in range(max(_DRAWN, len(maps))):
            made = self._draw(maps[n % len(maps)], generator_for(self._config.seed, "volumes", n))
            add_volumes(found, made.labels.cpu().numpy(), ml)
        return found


def volumes_of(cases: list[PreparedCase]) -> dict[int, list[float]]:
    """ml of each label, and of all (0), in each case that has it."""
    found: dict[int, list[float]] = {}
    for case in cases:
        add_volumes(found, case.labels, prod(case.spacing) / 1000)
    return found


def extent(cases: list[PreparedCase]) -> tuple[float, ...]:
    """Largest extent in mm along x, y, z of the training images."""
    extents = [[n * mm for n, mm in zip(c.labels.shape, c.spacing, strict=True)] for c in cases]
    return tuple(round(max(axis), 1) for axis in reversed(list(zip(*extents, strict=True))))


def _length(config: RunConfig, world: World) -> int:
    options = config.optimisation
    return options.iterations * options.batch_size * options.accumulate * world.size


def open_source(config: RunConfig, world: World, accepted: Acceptance = NOTHING) -> Source:
    """The data that a configuration names.

    A mistake in what the card says of them is found now, not after the training.

    :param accepted: refusals to overrule; the facts name those that were.
    :raises DatasetError: if the data cannot be used.
    :raises ConfigError: if the configuration does not fit them.
    """
    if config.data.source == "generated":
        source = GeneratedSource(config, world, accepted)
        log.info("label maps: %(train)d for training, %(val)d for validation", source.splits)
        describe_structures(config, source.labels)
        return source
    path = Path(config.data.dataset)
    data = open_dataset(path, Path(config.data.split), fold=config.data.fold)
    _check_channels(data, config)
    data = with_share(data, subjects_of(path), config)
    describe_structures(config, data.labels)
    return ScanSource(data, config, world, accepted)


def _check_channels(data: Decathlon, config: RunConfig) -> None:
    """:raises ConfigError: if the network sees another number of images than a case has."""
    found, wanted = len(data.channels) or 1, config.network.in_channels
    if found != wanted:
        named = f" ({', '.join(data.channels)})" if data.channels else ""
        raise ConfigError(
            f"'{config.data.dataset}' has {found} channel(s){named}, and the configuration is for "
            f"{wanted}: 'network.in_channels' counts them, and 'preparation.channels' describes "
            "each where there are several."
        )


def with_share(data: Decathlon, subjects: Mapping[str, str], config: RunConfig) -> Decathlon:
    """The data set with ``data.share`` of its training subjects (rounded up), all their cases.

    One seed puts the subjects in one order, of which each share is the beginning: what 25 % hold,
    50 % hold too. Validation and test stay whole. A case whose subject is not known is one of its
    own.
    """
    share = config.data.share
    if share == 1:
        return data
    train = data.splits["train"]
    names = sorted({subjects.get(case.name, case.name) for case in train})
    order = torch.randperm(len(names), generator=generator_for(config.seed, "share")).tolist()
    count = max(1, ceil(share * len(names) - 1e-9))  # 0.1 * 30 is a little more than 3
    chosen = {names[n] for n in order[:count]}
    kept = tuple(case for case in train if subjects.get(case.name, case.name) in chosen)
    log.info("train: %d of %d subjects", count, len(names))
    return replace(data, splits={**data.splits, "train": kept})
