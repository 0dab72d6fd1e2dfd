"""From what was measured to a verdict: ``ok``, ``check`` or ``implausible``, with its reasons.

A verdict never says that a result is correct. It says that nothing speaks against it as far as it
was checked, and what could not be checked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from MorseCore.quality.signals import SignalValue
from MorseCore.quality.thresholds import ANY, SIGNALS, Threshold

__all__ = ["LEVELS", "Reason", "describe", "join_verdicts", "judge"]

LEVELS = ("ok", "check", "implausible")
_WORDS = {
    "ok": "Plausible as far as checked.",
    "check": "Look at this result before you use it.",
    "implausible": "This result is implausible.",
}


@dataclass(frozen=True)
class Reason:
    """Why a result is not ``ok``."""

    structure: str
    """Its name; empty: the whole result."""
    signal: str
    """Of :data:`SIGNALS`, or the name of a rule that needs no limit."""
    value: float | None
    range: tuple[float | None, float | None]
    """What is expected; null: no such end."""
    words: str
    """A sentence for a person."""
    level: str
    severity: float


def judge(
    measured: Sequence[SignalValue],
    thresholds: Iterable[Threshold],
    *,
    rules: Sequence[Reason] = (),
    mode: str,
) -> dict[str, Any]:
    """The verdict on one result, as ``report.json`` holds it.

    :param thresholds: later ones count where two are of one signal and structure.
    :param rules: reasons that were found without a limit.
    :param mode: ``fast`` or ``full``, what was asked for.
    """
    limits = {(limit.signal, limit.structure): limit for limit in thresholds}
    reasons, severity = list(rules), 0.0
    for item in measured:
        limit = limits.get((item.signal, item.structure)) or limits.get((item.signal, ANY))
        if limit is None or (limit.structure == ANY and not item.structure):
            continue
        found = limit.severity(item.value)
        severity = max(severity, found)
        if found > 1:
            reasons.append(_reason(item, limit, found))
    return _verdict(
        reasons, severity, {item.structure for item in measured if item.structure}, measured,
        _not_checked(measured, limits), mode,
    )  # fmt: skip


def _verdict(
    reasons: Sequence[Reason],
    severity: float,
    structures: Iterable[str],
    measured: Sequence[SignalValue],
    not_checked: Sequence[str],
    mode: str,
) -> dict[str, Any]:
    reasons = sorted(reasons, key=lambda reason: -reason.severity)
    levels = dict.fromkeys(sorted(structures), "ok")
    for reason in reversed(reasons):  # the worst has the last word
        if reason.structure in levels:
            levels[reason.structure] = reason.level
    level = reasons[0].level if reasons else "ok"
    return {
        "level": level,
        "words": _WORDS[level],
        "severity": round(max([severity, *(reason.severity for reason in reasons)]), 3),
        "reasons": [asdict(reason) | {"range": list(reason.range)} for reason in reasons],
        "structures": levels,
        "signals": _table(measured),
        "not_checked": list(not_checked),
        "mode": mode,
    }


def _table(measured: Sequence[SignalValue]) -> dict[str, dict[str, float]]:
    """Signal -> structure -> value."""
    table: dict[str, dict[str, float]] = {}
    for item in measured:
        table.setdefault(item.signal, {})[item.structure] = item.value
    return table


def level_of(severity: float) -> str:
    """The level that a severity stands for."""
    return LEVELS[min(2, int(severity))] if severity > 1 else LEVELS[0]


def _reason(item: SignalValue, limit: Threshold, severity: float) -> Reason:
    signal = SIGNALS[item.signal]
    is_low = item.value < limit.typical
    bound = limit.check[0 if is_low else 1]
    expected = f"at {'least' if is_low else 'most'} {_number(bound)}{_unit(signal.unit)}"
    words = (
        f"{signal.words.format(item.structure or 'the whole')} is {_number(item.value)}"
        f"{_unit(signal.unit)}; {expected} is expected."
    )
    return Reason(
        item.structure, item.signal, item.value, limit.check, words, level_of(severity),
        round(severity, 3),
    )  # fmt: skip


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _not_checked(
    measured: Sequence[SignalValue], limits: Mapping[tuple[str, str], Threshold]
) -> list[str]:
    """Signals without a limit, or that were not measured."""
    stated = {signal for signal, _ in limits}
    seen = {item.signal for item in measured}
    return [name for name in SIGNALS if name not in stated or name not in seen]


def join_verdicts(
    verdicts: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, Mapping[str, str]],
    pairs: Sequence[SignalValue],
    thresholds: Iterable[Threshold],
) -> dict[str, Any]:
    """One verdict of those of two sides, with the difference between them.

    :param verdicts: by side; one that is missing is a reason to look.
    :param names: side -> name of a structure -> its name with the side.
    :param pairs: asymmetries.
    """
    first = next(iter(verdicts.values()))

    def named(side: str, structure: str) -> str:
        return names[side].get(structure, f"the {side} side")

    reasons, measured, levels = [], [], []
    for side, verdict in verdicts.items():
        for row in verdict["reasons"]:
            words = row["words"].replace(row["structure"] or "the whole", "{}", 1)
            name = named(side, row["structure"])
            reasons.append(Reason(**{
                **row, "range": tuple(row["range"]), "structure": name,
                "words": words.replace("{}", name) if "{}" in words else f"{name}: {words}",
            }))  # fmt: skip
        measured += [
            SignalValue(signal, named(side, name), value)
            for signal, values in verdict["signals"].items()
            for name, value in values.items()
        ]
        levels += [named(side, name) for name in verdict["structures"]]
    between = judge(pairs, thresholds, mode=first["mode"])
    for row in between["reasons"]:
        reasons.append(Reason(**{**row, "range": tuple(row["range"])}))
    for side in names.keys() - verdicts.keys():
        words = f"Nothing was segmented on the {side} side."
        reasons.append(Reason("", "side", None, (None, None), words, "check", 1.5))
    missing = [name for name in first["not_checked"] if name not in {p.signal for p in pairs}]
    severity = max(between["severity"], *(v["severity"] for v in verdicts.values()))
    return _verdict(reasons, severity, levels, [*measured, *pairs], missing, first["mode"])


def describe(verdict: Mapping[str, Any]) -> str:
    """``check: The volume of …``, for a terminal: the level and the first reasons."""
    reasons = [row["words"] for row in verdict["reasons"]]
    more = f" (and {len(reasons) - 2} more)" if len(reasons) > 2 else ""
    return f"{verdict['level']}: {' '.join(reasons[:2]) or verdict['words']}{more}"
