"""One scan of a batch, from its file to its files: what the worker does for ``case``."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from MorseCore.errors import Cancelled, ImageError, MorseError
from MorseCore.images.channels import read_channels
from MorseCore.images.contents import input_hashes
from MorseCore.images.imageio import ReadOptions, Volume, check_is_there
from MorseCore.images.roi import parse_roi
from MorseCore.inference.files import complete_result, read_result, write_result
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.whole_scan import open_session
from MorseCore.quality.mosaic import write_disputed, write_mosaic
from MorseCore.quality.pages import disputed_path, viewer_path
from MorseCore.result import Segmentation
from MorseCore.service.protocol import Load, SegmentCase
from MorseCore.system.acceptance import Acceptance
from MorseCore.system.files import prepare_output_directory, printable
from MorseCore.system.processes import peak_memory

__all__ = ["check_choices", "options_of", "segment_case"]

log = logging.getLogger(__name__)


def options_of(request: Load | SegmentCase) -> PredictOptions:
    """How a request wants to be segmented. :raises ConfigError: if that makes no sense."""
    return PredictOptions(
        roi=parse_roi(request.roi) if request.roi else None,
        points=request.points, passes=request.passes, scale=request.scale, accept=request.accept,
        verdict=request.verdict,
    )  # fmt: skip


def check_choices(request: Load, predictor: VolumePredictor) -> None:
    """Refuse numbers that the model's renderer does not have: once, and not per case.

    :raises ConfigError: naming the number.
    """
    info = predictor.info
    options_of(request).renderer(info.renderer, window=info.preparation.window_size)


def segment_case(
    request: SegmentCase,
    predictor: VolumePredictor,
    *,
    progress: Callable[[str, float], None],
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """Read, segment and write one scan, unless its result is there already.

    :param progress: called with the stage (``read`` before the predictor's own) and 0..1.
    :return: ``status`` (``done`` or ``done before``) and ``report``, what ``report.json`` holds.
    :raises MorseError: whatever is wrong, an unexpected error of a library included.
    """
    try:
        return _segment(request, predictor, progress, should_stop)
    except (Cancelled, MorseError, MemoryError):
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or ["no message"])[0]
        raise MorseError(f"unexpected {type(error).__name__}: {first}") from error


def _segment(
    request: SegmentCase,
    predictor: VolumePredictor,
    progress: Callable[[str, float], None],
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    progress("read", 0.0)
    started = time.perf_counter()
    sources, folder = tuple(map(Path, (request.input, *request.others))), Path(request.output)
    _check_are_there(sources, predictor.info.channels or ())
    options = options_of(request)
    made_from = _made_from(request, sources, options, predictor)
    reading = ReadOptions(request.series, request.volume, Acceptance(request.accept))
    before = complete_result(folder, request.format)
    if before is not None:
        differences = _differences(before.get("request"), made_from)
        level = (before.get("verdict") or {}).get("level")
        if not differences and (request.rerun is None or level != request.rerun):
            if request.picture is not None and not Path(request.picture).exists():
                _draw(request, lambda: (read_channels(sources, reading), read_result(folder)))
            return {"status": "done before", "report": before}
        if differences:
            log.warning(
                "%s: its earlier result is replaced, as it was made with another %s; to keep both, "
                "take two output folders",
                printable(request.name), ", another ".join(differences),
            )  # fmt: skip
    volume = read_channels(sources, reading)
    seconds = round(time.perf_counter() - started, 4)
    session = open_session(predictor, volume, options, keep=False)
    result = session.segment(progress=progress, should_stop=should_stop)
    result.report["seconds"] = {"read": seconds, **result.report.get("seconds", {})}
    result.report["request"] = made_from
    result.report["input"]["path"] = printable(str(sources[0].absolute()))
    if (memory := peak_memory()) is not None:
        result.report["peak_memory_mb"] = round(memory / 2**20)
    report = write_result(folder, result, mask_format=request.format)
    if request.picture is not None:
        _draw(request, lambda: (volume, result), is_new=True)
    return {"status": "done", "report": report}


def _check_are_there(sources: Sequence[Path], channels: Sequence[str]) -> None:
    """:raises ImageError: naming the file, or the channel, that is missing."""
    check_is_there(sources[0])
    for path, name in zip(sources[1:], channels[1:], strict=False):
        if not path.exists():
            raise ImageError(
                f"The channel '{name}' is missing: there is no file '{printable(path.name)}' "
                f"beside '{printable(sources[0].name)}'."
            )


def _draw(
    request: SegmentCase,
    read: Callable[[], tuple[Volume, Segmentation]],
    *,
    is_new: bool = False,
) -> None:
    """The case's pictures for the cohort's page; what cannot be drawn costs no result.

    :param is_new: the result has what no file keeps, or is without it.
    """
    path = Path(request.picture or "")
    disputed = disputed_path(path)
    try:
        prepare_output_directory(path.parent)
        if is_new:  # one of an earlier result
            viewer_path(path).unlink(missing_ok=True)
        volume, result = read()
        write_mosaic(path, volume, result)
        if result.disputed:
            prepare_output_directory(disputed.parent)
            write_disputed(disputed, result)
        elif is_new:
            disputed.unlink(missing_ok=True)
    except MorseError as error:
        log.warning("%s: there is no picture of it: %s", printable(request.name), error)


def _made_from(
    request: SegmentCase,
    sources: Sequence[Path],
    options: PredictOptions,
    predictor: VolumePredictor,
) -> dict[str, Any]:
    """What has to be equal for a finished case to be left alone."""
    made_from = {
        "model": predictor.info.sha256,
        "options": asdict(options),
        "format": request.format,
        "series": request.series,
        "volume": request.volume,
        "input": [
            [printable(name), digest]
            for source in dict.fromkeys(sources)
            for name, digest in _hashes(source)
        ],
    }
    plain: dict[str, Any] = json.loads(json.dumps(made_from))  # tuples come back as lists
    return plain


def _differences(before: object, now: dict[str, Any]) -> list[str]:
    """In which points a finished case was made otherwise; what it does not say is the default."""
    if not isinstance(before, dict) or not isinstance(before.get("options"), dict):
        return sorted(now)
    options = {option.name: option.default for option in fields(PredictOptions)}
    defaults = json.loads(json.dumps(options))
    earlier = {**defaults, **before["options"]}
    other = [key for key in sorted(now) if key != "options" and before.get(key) != now[key]]
    return other + [key for key, value in now["options"].items() if earlier.get(key) != value]


def _hashes(path: Path) -> list[list[str]]:
    try:
        return input_hashes(path)
    except (OSError, ValueError):  # reading the image will say why
        return []
