"""``report.html``: the cohort on one page, worst first, and a page for every case.

Plain files that open from a shared drive: no server, nothing from elsewhere, nothing about the
machine. What a person's files are called is shown, as it is what the cases are called.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from hashlib import sha1
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from MorseCore import __version__
from MorseCore.quality.cohort import CohortCase, fences, participants
from MorseCore.quality.volumes import outliers_of, volume_rows
from MorseCore.system.files import prepare_output_directory, printable, write_text

__all__ = [
    "PICTURES",
    "REPORT_PAGE",
    "disputed_path",
    "fill_template",
    "page_text",
    "picture_path",
    "viewer_path",
    "worst_first",
    "write_pages",
]

REPORT_PAGE = "report.html"
PICTURES = "pictures"
_DISPUTED, _VIEWERS = "disputed", "interactive"
_TABLES = ("volumes.csv", "summary.csv")
_LONGEST = 200  # bytes of a file's name, of the 255 that a disk takes
_TEMPLATES = Path(__file__).parent / "templates"
_LEVELS = ("failed", "implausible", "check", "not judged", "ok", "waiting")
"""Worst first."""
_PATH = re.compile(r"(?<![\w.\\/])(?:[A-Za-z]:)?(?:[\\/][^\\/:;,'\"<>|\n]+)+[\\/](?=[^\\/\s])")
"""The folders of a full path in a message."""
_OF_CASES = ("reasons", "disputed", "viewer")
"""What only the page of a case says."""
Summary = Mapping[str, Mapping[str, Any]]
"""Case -> its line of ``summary.csv``."""


def picture_path(folder: Path, case: str) -> Path:
    """Where the picture of a case lies in the cohort's folder."""
    return folder / PICTURES / f"{_stem(case)}.jpg"


def disputed_path(picture: Path) -> Path:
    """Where beside a case's picture that of its disputed slices lies."""
    return picture.parent / _DISPUTED / picture.name


def viewer_path(picture: Path) -> Path:
    """Where beside a case's picture the page lies in which one can scroll and turn it."""
    return picture.parent / _VIEWERS / f"{picture.stem}.html"


def worst_first(folder: Path, cases: Sequence[CohortCase], summary: Summary) -> list[str]:
    """The cases that have results, as the cohort's page lists them."""
    items = _items(folder, cases, summary, participants(folder))
    return [item["name"] for item in items if item["page"]]


def _stem(case: str) -> str:
    """What the files of a case are called; a name that fills a folder's name has no suffix left."""
    if len(case.encode(errors="replace")) <= _LONGEST:
        return case
    return f"{case[:40]}-{sha1(case.encode(errors='replace')).hexdigest()[:12]}"


def write_pages(folder: Path, cases: Sequence[CohortCase], summary: Summary) -> Path:
    """Write ``report.html`` and ``pictures/<case>.html``; returns the former.

    :param cases: those that have results.
    :param summary: of all cases, failed ones too.
    :raises OutputError: if they cannot be written.
    """
    prepare_output_directory(folder / PICTURES)
    about = participants(folder)
    items = _items(folder, cases, summary, about)
    limits = fences(list(cases))
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in volume_rows(cases, about):
        rows.setdefault(row["case"], []).append(row)
    by_name = {case.name: case for case in cases}
    shown = [item for item in items if item["page"]]
    for n, item in enumerate(shown):
        beside = (shown[n - 1] if n else None, shown[n + 1] if n + 1 < len(shown) else None)
        case = by_name[item["name"]]
        page = _case_page(case, item, rows.get(case.name, []), limits, beside)
        write_text(folder / PICTURES / f"{_stem(case.name)}.html", page)
    tables = [name for name in _TABLES if (folder / name).is_file()]
    write_text(folder / REPORT_PAGE, _cohort_page(items, cases, limits, tables))
    return folder / REPORT_PAGE


def _items(
    folder: Path,
    cases: Sequence[CohortCase],
    summary: Summary,
    about: Mapping[str, Mapping[str, str]],
) -> list[dict[str, Any]]:
    """What the cohort's page says of each case, worst first."""
    by_name, outliers = {case.name: case for case in cases}, outliers_of(cases)
    items = []
    for name in dict.fromkeys([*summary, *by_name]):
        item = _item(summary.get(name, {}), by_name.get(name), outliers.get(name, []), about)
        has_picture = item["page"] and picture_path(folder, name).is_file()
        item["picture"] = f"{PICTURES}/{quote(_stem(name))}.jpg" if has_picture else ""
        item["disputed"] = disputed_path(picture_path(folder, name)).is_file()
        item["viewer"] = viewer_path(picture_path(folder, name)).is_file()
        items.append({"name": name, **item})
    items.sort(key=_urgency)
    for rank, item in enumerate(items):
        item["rank"] = rank
    return items


def _item(
    line: Mapping[str, Any],
    case: CohortCase | None,
    outliers: Sequence[str],
    about: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """What is said of one case, but for its name and picture."""
    reasons = [*(case.reasons() if case else []), *outliers]
    message = str(line.get("message", ""))
    level = "failed" if line.get("status") == "failed" else "waiting"
    if case is not None and level != "failed":  # an empty mask is a failure that has its files
        level = case.verdict if case.verdict in _LEVELS else "not judged"
    return {
        "level": level,
        "why": _without_paths(" ".join(reasons) or message),
        "reasons": [_without_paths(text) for text in [*reasons, *([message] * bool(message))]],
        "about": _about(case, about),
        "attention": case.report.get("attention") if case else None,
        "seconds": _number(line.get("seconds")),
        "memory": _number(line.get("peak_memory_mb")),
        "page": f"{PICTURES}/{quote(_stem(case.name))}.html" if case else "",
        "outliers": len(outliers),
    }


def _urgency(item: Mapping[str, Any]) -> tuple[int, int, float]:
    """By verdict, then by the structures that are outliers, then by the attention needed."""
    return _LEVELS.index(item["level"]), -item["outliers"], -(item["attention"] or 0)


def _about(case: CohortCase | None, about: Mapping[str, Mapping[str, str]]) -> str:
    """``01, session 2, age 40, sex F``."""
    if case is None:
        return ""
    words = [case.subject] if case.subject != case.name else []
    words += [f"session {case.session}"] if case.session else []
    return ", ".join(words + [f"{k} {v}" for k, v in about.get(case.subject, {}).items()])


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None


def _without_paths(text: str) -> str:
    """A message without the folders of this machine."""
    return _PATH.sub("", text)


def _cohort_page(
    items: Sequence[Mapping[str, Any]],
    cases: Sequence[CohortCase],
    limits: Mapping[tuple[str, str], tuple[float, float]],
    tables: Sequence[str],
) -> str:
    structures: dict[tuple[str, str], None] = {}
    for case in cases:
        structures |= dict.fromkeys((case.model, name) for name in case.volumes())
    is_one_model = len({model for model, _ in structures}) == 1
    volumes = {case.name: (case.model, case.volumes()) for case in cases}
    plain = []
    for item in items:
        model, own = volumes.get(item["name"], ("", {}))
        row = [own.get(name) if of == model else None for of, name in structures]
        told = {key: value for key, value in item.items() if key not in _OF_CASES}
        plain.append(told | {"volumes": row if item["page"] else None})
    links = " and ".join(f'<a href="{name}">{name}</a>' for name in tables)
    counts = Counter(str(item["level"]) for item in items)
    present = [level for level in _LEVELS if counts[level]]
    data = {
        "cases": plain,
        "levels": present,
        "structures": [
            {"name": name if is_one_model else f"{name} ({model})",
             "fences": limits.get((model, name))}
            for model, name in structures
        ],
    }  # fmt: skip
    return fill_template(
        "cohort.html",
        COUNT=f"{len(items)} case{'s' * (len(items) != 1)}",
        LEVELS=" ".join(
            f'<span class="badge {_css(level)}">{counts[level]} {level}</span>' for level in present
        ),
        DATA=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        MADE=f"MorseSegment {__version__}, {date.today().isoformat()}."
        + (f" The numbers are in {links}." if links else ""),
    )


def _case_page(
    case: CohortCase,
    item: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    limits: Mapping[tuple[str, str], tuple[float, float]],
    beside: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None],
) -> str:
    links = [f'<a href="../{REPORT_PAGE}">All cases</a>']
    for label, other in zip(("← worse", "better →"), beside, strict=True):
        if other is not None:
            links.append(f'<a href="{quote(_stem(other["name"]))}.html">{label}</a>')
    if item["viewer"]:
        links.append(f'<a href="{_VIEWERS}/{quote(_stem(case.name))}.html">Scroll and turn</a>')
    reasons = "".join(f"<li>{page_text(reason)}</li>" for reason in item["reasons"])
    picture = (
        f'<h2>Slices</h2><img class="mosaic" src="{quote(_stem(case.name))}.jpg" alt="slices of '
        f'{page_text(case.name)}"><p class="soft">Rows: axial, coronal, sagittal, as radiologists '
        "look at them (R: the patient’s right). First column: the slice in which the rendering "
        "changed most, or the most uncertain one if it changed nothing. Outline: coarse. Fill: "
        "refined. "
        "Points: rendered again, yellow (sure) to red (undecided).</p>"
    )
    disputed = (
        f'<h2>Where passes disagree most</h2><img class="disputed" src="{_DISPUTED}/'
        f'{quote(_stem(case.name))}.jpg" alt="disputed slices of {page_text(case.name)}">'
        '<p class="soft">Axial, coronal, sagittal: the slices in which what the network says of '
        "the mirror image (with <code>--verdict full</code> also of another brightness, whichever "
        "differs most) is farthest from the coarse mask. Coloured outline: coarse. White outline: "
        "the other. Fill: only one of both. Of two sides the left one is above.</p>"
    )
    return fill_template(
        "case.html",
        NAME=page_text(case.name),
        NAV="".join(links),
        BADGE=f'<span class="badge {_css(item["level"])}">{page_text(item["level"])}</span>',
        REASONS=f"<ul>{reasons}</ul>" if reasons else '<p class="soft">No reason to doubt it was '
        "found, as far as was checked.</p>" if case.verdict else '<p class="soft">Not judged.</p>',
        PICTURE=(picture if item["picture"] else "") + (disputed if item["disputed"] else ""),
        VOLUMES=_volume_table(case, rows, limits),
        MADE=_provenance(case),
    )  # fmt: skip


def _volume_table(
    case: CohortCase,
    rows: Sequence[Mapping[str, Any]],
    limits: Mapping[tuple[str, str], tuple[float, float]],
) -> str:
    colors = {row["name"]: row["color"] for row in case.report.get("labels", [])}
    head = (
        "Structure",
        "Coarse ml",
        "Refined ml",
        "Probability ml",
        "Asymmetry",
        "Cohort’s fences",
    )
    lines = [f"<tr><th>{'</th><th class=number>'.join(head)}</th></tr>"]
    for row in rows:
        name = row["structure"]
        rgb = ",".join(str(round(255 * share)) for share in colors.get(name, ()))
        swatch = f'<span class="swatch" style="background:rgb({rgb})"></span>' if rgb else ""
        low, high = limits.get((case.model, name), (None, None))
        cells = [_ml(row.get(k)) for k in ("coarse_ml", "refined_ml", "refined_probability_ml")]
        cells.append(f"{row['asymmetry']:+.3f}" if "asymmetry" in row else "")
        outlier = f" <b>{row['outlier']}</b>" if row["outlier"] else ""
        cells.append(f"{_ml(low)} – {_ml(high)}{outlier}" if low is not None else "")
        lines.append(
            f"<tr><td>{swatch}{page_text(name)}</td>"
            + "".join(f'<td class="number">{cell}</td>' for cell in cells) + "</tr>"
        )  # fmt: skip
    return f"<table>{''.join(lines)}</table>"


def _provenance(case: CohortCase) -> str:
    report = case.report
    model, given = report.get("model", {}), report.get("input", {})
    sizes = given.get("spacing_mm_ijk", [])
    versions = report.get("versions", {})
    facts = {
        "Model": f"{model.get('name', '')} ({str(model.get('sha256', ''))[:12]})",
        "Voxels": " x ".join(map(str, reversed(given.get("shape_kji", [])))),
        "Spacing": " x ".join(f"{x:g}" for x in sizes) + " mm",
        "Versions": ", ".join(f"{k} {versions[k]}" for k in ("MorseSegment", "torch", "python")
                              if k in versions),
        "Device": report.get("device", ""),
        "Engine": report.get("engine", ""),
        "Parameters": json.dumps(report.get("parameters", {})),
        "Seconds": ", ".join(f"{k} {v:.1f}" for k, v in report.get("seconds", {}).items()),
        "Notes": " ".join(map(str, report.get("warnings", []))),
    }  # fmt: skip
    lines = [
        f"<tr><th>{key}</th><td>{page_text(_without_paths(str(value)))}</td></tr>"
        for key, value in facts.items()
        if value
    ]
    return f"<table>{''.join(lines)}</table>"


def fill_template(template: str, **values: str) -> str:
    """A template with its places filled; the style sheet is in every page."""
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    values["STYLE"] = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    return re.sub(r"@@([A-Z]+)@@", lambda match: values[match[1]], text)


def _css(level: str) -> str:
    return level.replace(" ", "-")


def page_text(text: str) -> str:
    """A text without marks of HTML."""
    return escape(printable(text))


def _ml(value: Any) -> str:
    return "" if value in (None, "") else f"{value:.3f}"
