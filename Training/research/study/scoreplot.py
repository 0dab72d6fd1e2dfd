"""The picture of a table of cases: every case, before and after rendering."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median

from MorseCore.metrics.casetable import CaseScore
from MorseCore.system.files import atomic_path
from MorseCore.training.validation import STAGES

__all__ = ["draw_scores"]

_MEASURES = (("dice", "DSC"), ("hd95", "HD95 in mm"))


def draw_scores(
    cases: Mapping[str, Mapping[str, CaseScore]], names: Mapping[int, str], path: Path
) -> None:
    """DSC and HD95 of every case as a line from the coarse to the refined mask, by structure.

    :param cases: by name, then by stage.
    :param names: of the structures, by label.
    :raises OutputError: if it cannot be written.
    """
    from matplotlib.figure import Figure

    labels = sorted({label for stages in cases.values() for label in stages["refined"].structures})
    figure = Figure(figsize=(2 + 1.4 * len(labels), 6), layout="constrained")
    for axes, (measure, title) in zip(figure.subplots(len(_MEASURES), 1), _MEASURES, strict=True):
        ticks = []
        for n, label in enumerate(labels):
            places = [2.5 * n, 2.5 * n + 1]
            ticks += list(zip(places, STAGES, strict=True))
            scores = [[getattr(stages[stage].structures[label], measure) for stage in STAGES]
                      for stages in cases.values()]  # fmt: skip
            for values in scores:
                axes.plot(places, values, color=f"C{n}", alpha=0.4, lw=0.8, marker=".")
            medians = [median(column) for column in zip(*scores, strict=True)]
            axes.plot(places, medians, color="k", lw=2, marker="o")
            axes.text(sum(places) / 2, 1.01, names[label], ha="center", va="bottom",
                      transform=axes.get_xaxis_transform())  # fmt: skip
        axes.set_xticks([place for place, _ in ticks], [stage for _, stage in ticks], rotation=30)
        axes.set_ylabel(title)
    figure.suptitle(f"{len(cases)} cases; black: their median", fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
