"""Measures a model's uncertainty: errors that it finds, errors that a reviewer finds, calibration.

    python Training/research/uncertainty.py MODEL CONFIG
    python Training/research/uncertainty.py MODEL CONFIG --split test --temperature model

The data set is that of a training's configuration, or a ``dataset.json`` of yours (as for
score.py); everything else is the model's. ``Documentation/calibration.md`` explains the
measurements. The script writes ``<output>/table.md``, ``table.csv`` and ``plot.png``. After an
interruption, run it again and it continues with the next case. ``--write-temperature`` stores the
fitted temperature in ``model.json``: fit on the validation split, then look at the test split with
``--temperature model``.
"""

import argparse
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout, not installed

import numpy as np
import torch

from MorseCore.config import encode
from MorseCore.errors import ConfigError
from MorseCore.inference.blending import GridPrediction
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.sliding_window import predict_volume
from MorseCore.metrics.subjects import subjects_of
from MorseCore.network import Network
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import INFO, ModelInfo, load_network, read_model
from MorseCore.system.devices import resolve_device
from MorseCore.system.files import prepare_output_directory, write_json
from MorseCore.training.dataset import Case, Decathlon, PreparedCase, prepare_case
from Training.research.shared.commandline import add_model_and_data, command_line, exit_code
from Training.research.shared.data import (
    PARTS,
    cases_of,
    compare_by_number,
    default_split,
    open_data,
)
from Training.research.shared.identity import check_model_identity, measure_cases
from Training.research.study.reliability import (
    Reliability,
    best_temperature,
    coverage,
    flat,
    near_boundary,
    nll_by_temperature,
    scores_of,
    walk,
)
from Training.research.study.uncertaintyreport import Findings, gather, write_findings


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: measured; 1: failed; 2: wrong usage."""
    options = parser().parse_args(arguments)
    return exit_code(lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Measure, write and print."""
    options.model = find_model(options.model)
    where, data = open_data(options.config)
    options.split = options.split or default_split(data)
    subjects = subjects_of(Path(where.dataset))
    if options.output is None:
        name = read_model(options.model).name
        options.output = Path("runs") / f"uncertainty-{name}-{options.split}"
    findings = Study(options, data).run(subjects)
    print(write_findings(options.output, findings))
    print(f"written: {options.output / 'table.md'}, table.csv, plot.png")
    if options.write_temperature:
        store(options.model, findings)
        print(f"written: temperature {findings.temperature:.4f} in {options.model / INFO}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = command_line(__doc__)
    add_model_and_data(result)
    result.add_argument(
        "--split", choices=PARTS, help="default: val, or all where there are no such cases"
    )
    result.add_argument(
        "--temperature", choices=("fit", "model"), default="fit",
        help="fit: on this split; model: the one in model.json",
    )  # fmt: skip
    result.add_argument("--band", type=float, default=3.0, metavar="MM",
                        help="width of the band around the predicted outlines")  # fmt: skip
    result.add_argument("--device", default="auto")
    result.add_argument(
        "--output", type=Path, metavar="DIR", help="default: runs/uncertainty-MODEL-SPLIT"
    )
    result.add_argument(
        "--write-temperature", action="store_true", help="store it in model.json (with 'fit')"
    )
    return result


class Study:
    """Two passes over a split: as the network answers, and with the temperature."""

    def __init__(self, options: argparse.Namespace, data: Decathlon) -> None:
        """:raises ConfigError: if model, data set and options do not fit together."""
        self._options, self._info = options, read_model(options.model)
        self._cases = cases_of(data, options.split)
        if options.write_temperature and (options.temperature, options.split) != ("fit", "val"):
            raise ConfigError("A temperature to be stored is fitted on the validation split.")
        if not 0 < options.band < math.inf:
            raise ConfigError(f"'--band' must be positive and finite; found {options.band}.")
        compare_by_number(self._info, data)
        self._device = resolve_device(options.device)  # before anything is written
        self._network: Network | None = None
        self._check_identity()

    def run(self, subjects: Mapping[str, str]) -> Findings:
        """Measure what is not measured yet."""
        first = self._pass("plain", 1.0, self._errors)
        nll = np.sum([case["nll"] for case in first.values()], axis=0)
        wanted = self._options.temperature
        # Rounded before the second pass: what is stored is what was measured.
        fitted = round(best_temperature(nll), 4)
        temperature = fitted if wanted == "fit" else self._info.temperature
        second = self._pass(f"T{temperature:g}", temperature, self._calibration)
        what = f"{self._info.name}, {self._options.split}: {len(first)} cases"
        return gather(what, first, second, temperature, band=self._options.band, subjects=subjects)

    def _pass(
        self,
        name: str,
        temperature: float,
        measure: Callable[[PreparedCase, GridPrediction], dict[str, Any]],
    ) -> dict[str, dict[str, Any]]:
        """What ``measure`` says of every case, from its file or anew."""
        folder = prepare_output_directory(self._options.output / "cases" / name)
        return measure_cases(
            folder, self._cases, lambda case: measure(*self._predict(case, temperature)), title=name
        )

    def _predict(self, case: Case, temperature: float) -> tuple[PreparedCase, GridPrediction]:
        info = self._info
        if self._network is None:
            self._network = load_network(self._options.model, info, device=self._device)
        prepared = prepare_case(case, info.preparation, num_classes=info.num_classes)
        settings = replace(PredictOptions().window_settings(info), temperature=temperature)
        image = torch.from_numpy(np.ascontiguousarray(prepared.image))
        return prepared, predict_volume(self._network, image, settings)

    def _errors(self, case: PreparedCase, prediction: GridPrediction) -> dict[str, Any]:
        """Of one case: what uncertainty finds, and calibration without a temperature."""
        wrong = {
            stage: getattr(prediction, stage).max(0).indices.numpy() != case.labels
            for stage in ("coarse", "refined")
        }
        scores = scores_of(prediction.coarse)
        covered = {}
        if wrong["coarse"].any():
            covered = {name: coverage(score, wrong["coarse"]) for name, score in scores.items()}
        return {
            "voxels": case.labels.size,
            "errors": {stage: int(mask.sum()) for stage, mask in wrong.items()},
            "coverage": covered,
            "list": asdict(walk(wrong["refined"], scores["margin"], prediction.rendered)),
        } | self._calibration(case, prediction)

    def _calibration(self, case: PreparedCase, prediction: GridPrediction) -> dict[str, Any]:
        """Reliability of the refined probabilities, everywhere and in the band."""
        mask = prediction.refined.max(0).indices.numpy()
        band = near_boundary(mask, case.spacing, within=self._options.band)
        result: dict[str, Any] = {}
        for name, where in (("band", band), ("all", np.ones_like(band))):
            probabilities, labels = flat(prediction.refined, case.labels, where)
            bins = Reliability.of(probabilities, labels)
            result[name] = {key: value.tolist() for key, value in vars(bins).items()}
            if name == "band":
                result["nll"] = nll_by_temperature(probabilities, labels).tolist()
        return result

    def _check_identity(self) -> None:
        """Refuse a folder with another study: its cases would be taken for these.

        :raises ConfigError: if it holds one.
        """
        options = self._options
        path = prepare_output_directory(options.output) / "study.json"
        # The passes have temperatures of their own, and one may be stored between two calls.
        info = replace(self._info, temperature=1.0)
        check_model_identity(
            path, info, self._cases, done={p.stem for p in path.parent.glob("cases/*/*.json")},
            script="uncertainty", part=options.split, band=options.band,
            found="another study",
        )  # fmt: skip


def store(folder: Path, findings: Findings) -> None:
    """Put the temperature and how it came about into ``model.json``; the weights stay as they are.

    :raises OutputError: if it cannot be written.
    """
    info: ModelInfo = read_model(folder)
    note = {"temperature": findings.summary()}
    changed = replace(info, temperature=findings.temperature, training=info.training | note)
    write_json(folder / INFO, encode(changed))
    read_model(folder)


if __name__ == "__main__":
    sys.exit(main())
