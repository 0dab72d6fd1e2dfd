"""The findings on uncertainty, over the cases of a split: a table, a CSV file, a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Training.research.shared.output import markdown_table, new_figure, save_figure, write_tables
from Training.research.shared.scores import Interval
from Training.research.study.reliability import (
    COUNTS,
    LISTED,
    TEMPERATURES,
    Reliability,
    ece_difference,
)

__all__ = ["Findings", "gather", "write_findings"]

_SHOWN = (128, 512, 2048, 8192)  # numbers of points in the table for people
_WALKED = (1, 10, 20, 50, 100)
Cases = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Findings:
    """Means over cases; calibration over voxels."""

    title: str
    band: float
    temperature: float
    errors: dict[str, float]
    """Stage -> wrong voxels a case."""
    covered: dict[str, np.ndarray]
    """Measure -> share of the coarse mask's errors among the N most uncertain voxels, by N.

    Of the cases that have any."""
    found: np.ndarray
    """(LISTED,) errors found per point, after so many points."""
    rates: dict[str, float]
    """Errors per point of points taken blindly, ``rendered`` ones or ``any`` voxel; ``regions``:
    share of the wrong voxels that are connected to one in the list."""
    reliability: dict[str, dict[str, Reliability]]
    """Before or after -> band or all."""
    nll: tuple[float, float]
    """Mean -log p in the band, at T = 1 and at the temperature; the latter measured anew."""
    gains: dict[str, Interval]
    """Band or all -> ECE after less before."""

    def summary(self) -> dict[str, Any]:
        """For ``model.json``."""
        stages = [self.reliability[stage] for stage in ("before", "after")]
        ece = {where: [stage[where].ece for stage in stages] for where in ("band", "all")}
        return {
            "fitted_on": self.title, "band_mm": self.band, "nll": list(self.nll),
            "ece_band": ece["band"], "ece_all": ece["all"],
        }  # fmt: skip


def gather(
    title: str,
    first: Cases,
    second: Cases,
    temperature: float,
    *,
    band: float,
    subjects: Mapping[str, str],
) -> Findings:
    """Sums and means over the cases' files; ``subjects``: whose they are, for the intervals."""
    cases = list(first.values())
    flawed = [c for c in cases if c["coverage"]]
    covered = {
        m: np.mean([c["coverage"][m] for c in flawed], axis=0) for m in ("margin", "entropy")
    } if flawed else {}  # fmt: skip
    if flawed:
        counts = np.array(COUNTS)
        covered["random"] = np.mean([np.minimum(1, counts / c["voxels"]) for c in flawed], axis=0)
        ideal = [np.minimum(1, counts / c["errors"]["coarse"]) for c in flawed]
        covered["at best"] = np.mean(ideal, axis=0)
    walks = [c["list"] for c in cases]
    rates = {"rendered": "rate", "any": "background", "regions": "regions"}
    at_one = int(np.abs(np.log(TEMPERATURES)).argmin())
    voxels = sum(sum(c["band"]["count"]) for c in cases)
    return Findings(
        title, band, temperature,
        {s: float(np.mean([c["errors"][s] for c in cases])) for s in ("coarse", "refined")},
        covered, _per_point([w["errors"] for w in walks]),
        {name: float(np.mean([w[key] for w in walks])) for name, key in rates.items()},
        {
            stage: {w: _total(found, w) for w in ("band", "all")}
            for stage, found in (("before", first), ("after", second))
        },
        (
            sum(c["nll"][at_one] for c in cases) / voxels,
            sum(c["nll"][at_one] for c in second.values())
            / sum(sum(c["band"]["count"]) for c in second.values()),
        ),
        {
            w: ece_difference(_by_subject(first, w, subjects), _by_subject(second, w, subjects))
            for w in ("band", "all")
        },
    )  # fmt: skip


def _per_point(lists: Sequence[Sequence[int]]) -> np.ndarray:
    """Errors found so far over points looked at so far, all cases together."""
    table = np.zeros((len(lists), LISTED))
    seen = np.zeros((len(lists), LISTED))
    for row, errors in enumerate(lists):
        table[row, : len(errors)] = errors
        seen[row, : len(errors)] = 1
    return table.cumsum(1).sum(0) / np.maximum(1, seen.cumsum(1).sum(0))


def _total(cases: Cases, where: str) -> Reliability:
    parts = _by_subject(cases, where, {})
    return sum(parts[1:], start=parts[0])


def _by_subject(cases: Cases, where: str, subjects: Mapping[str, str]) -> list[Reliability]:
    """One sum a subject, in one order."""
    sums: dict[str, Reliability] = {}
    for name in sorted(cases):
        part = Reliability(**{k: np.array(v) for k, v in cases[name][where].items()})
        owner = subjects.get(name, name)
        sums[owner] = sums[owner] + part if owner in sums else part
    return list(sums.values())


def write_findings(folder: Path, findings: Findings) -> str:
    """Write ``table.md``, ``table.csv`` and ``plot.png``; the text of the first."""
    f = findings
    orders = ("margin", "entropy", "random", "at best")
    found = [[str(n), *(f"{f.covered[m][COUNTS.index(n)]:.3f}" for m in orders)]
             for n in _SHOWN if f.covered]  # fmt: skip
    walked = [
        *([str(n), f"{f.found[n - 1]:.3f}"] for n in _WALKED),
        ["rendered points taken blindly", f"{f.rates['rendered']:.3f}"],
        ["voxels taken blindly", f"{f.rates['any']:.4f}"],
    ]  # fmt: skip
    errors = [
        [w, *(f"{f.reliability[stage][w].ece:.4f}" for stage in ("before", "after")),
         f.gains[w].text(4)] for w in ("band", "all")
    ]  # fmt: skip
    lines = [
        f"# Uncertainty of {f.title}", "",
        f"Wrong voxels a case: {f.errors['coarse']:.0f} coarse, {f.errors['refined']:.0f} refined.",
        "", "Share of the coarse mask's errors among the N most uncertain voxels:", "",
        *markdown_table(["N", *orders], found), "",
        "Errors of the refined mask found per point, walking the list from its top:", "",
        *markdown_table(["points", "errors a point"], walked), "",
        f"{f.rates['regions']:.0%} of the wrong voxels are connected to one in the list.", "",
        f"Calibration of the refined probabilities, temperature {f.temperature:.3f}; band: within "
        f"{f.band:g} mm of a predicted outline. NLL in the band {f.nll[0]:.4f} before, "
        f"{f.nll[1]:.4f} after.", "",
        *markdown_table(["where", "ECE before", "ECE after", "after - before [95 %]"], errors),
    ]  # fmt: skip
    text = write_tables(folder, lines, [("figure", "of", "at", "value"), *_rows(f)])
    _draw(folder / "plot.png", findings)
    return text


def _rows(f: Findings) -> list[tuple[object, ...]]:
    """Every number, unrounded."""
    rows: list[tuple[object, ...]] = [("temperature", "", "", f.temperature)]
    rows += [("nll", "band", stage, v) for stage, v in zip(("before", "after"), f.nll, strict=True)]
    rows += [("errors", stage, "case", value) for stage, value in f.errors.items()]
    rows += [("covered", m, n, v) for m, values in f.covered.items()
             for n, v in zip(COUNTS, values, strict=True)]  # fmt: skip
    rows += [("found per point", "list", n + 1, v) for n, v in enumerate(f.found)]
    rows += [("found per point", name, "", v) for name, v in f.rates.items()]
    names = ("difference", "low", "high")
    rows += [("ece after - before", where, name, value) for where, found in f.gains.items()
             for name, value in zip(names, Interval.cells(found), strict=True)]  # fmt: skip
    for stage, places in f.reliability.items():
        for where, bins in places.items():
            rows.append(("ece", where, stage, bins.ece))
            rows += [
                (f"bin {key}", f"{where} {stage}", n, v)
                for key, values in vars(bins).items()
                for n, v in enumerate(values)
            ]
    return rows


def _draw(path: Path, findings: Findings) -> None:
    """Errors covered, errors found per point, reliability before and after."""
    figure = new_figure(13, 4)
    covered, walked, reliable = figure.subplots(1, 3)
    for name, shares in findings.covered.items():
        covered.semilogx(COUNTS, shares, "k:" if name == "at best" else "-", label=name)
    covered.set(xlabel="points N", ylabel="share of the coarse mask's errors", ylim=(0, 1.02))
    walked.plot(range(1, LISTED + 1), findings.found, label="the list")
    for name, style in (("rendered", "--"), ("any", ":")):
        walked.axhline(findings.rates[name], color="gray", ls=style, label=f"{name}, blindly")
    walked.set(xlabel="points inspected", ylabel="errors found per point", ylim=(0, None))
    reliable.plot([0, 1], [0, 1], "k:", lw=1)
    for stage, bins in ((s, findings.reliability[s]["band"]) for s in ("before", "after")):
        held = bins.count > 0
        reliable.plot(
            bins.confidence[held] / bins.count[held], bins.correct[held] / bins.count[held], "o-",
            label=f"{stage}: ECE {bins.ece:.4f}",
        )  # fmt: skip
    reliable.set(xlabel="probability of the label (band)", ylabel="share that is right")
    for axes in (covered, walked, reliable):
        axes.legend()
    figure.suptitle(findings.title)
    save_figure(figure, path)
