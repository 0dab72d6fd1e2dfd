"""Pages to scroll and turn, for the worst cases of a cohort."""

import logging
from collections.abc import Sequence
from pathlib import Path

from MorseCore.errors import ImageError
from MorseCore.images.channels import read_channel
from MorseCore.images.contents import input_hashes
from MorseCore.images.imageio import ReadOptions, Volume, check_is_there
from MorseCore.inference.files import read_result
from MorseCore.quality.cohort import CohortCase
from MorseCore.quality.pages import picture_path, viewer_path
from MorseCore.quality.viewer import write_viewer
from MorseCore.system.acceptance import Acceptance
from MorseCore.system.files import printable

__all__ = ["write_viewers"]

log = logging.getLogger(__name__)


def write_viewers(folder: Path, cases: Sequence[CohortCase]) -> None:
    """Write such a page for each case, and remove those of others.

    A case whose scan is gone or has changed has none, and the log says so.

    :param folder: of a batch.
    :raises OutputError: if a page cannot be written.
    """
    for page in viewer_path(picture_path(folder, "x")).parent.glob("*.html"):
        page.unlink()
    for case in cases:
        try:
            scan = _read_scan(case)
            result = read_result(folder / case.name)
        except (OSError, ValueError) as error:  # every MorseError is the latter
            log.warning("%s: there is no interactive page of it: %s", case.name, error)
            continue
        write_viewer(picture_path(folder, case.name), case.name, scan, result)


def _read_scan(case: CohortCase) -> Volume:
    """The scan that a case was made from; of several channels the first, which pictures show.

    :raises ImageError: if it is another one now, or nobody knows where it was.
    """
    try:
        given, made_from = case.report["input"], case.report["request"]
        source, others = Path(given["path"]), given.get("further_channels", [])
        options, hashes = made_from["options"], made_from["input"]
        chosen = (made_from["series"], made_from["volume"], tuple(options["accept"]))
    except KeyError:
        raise ImageError(
            "its report does not say what it was made from; segment it again."
        ) from None
    check_is_there(source)
    found = [[printable(name), digest] for name, digest in input_hashes(source)]
    if found != (hashes[: len(found)] if others else hashes):
        raise ImageError("its scan has changed since; segment it again.")
    series, volume, accept = chosen
    # Channels without hashes of their own are the volumes of this one file.
    is_one_file = len(found) == len(hashes)
    paths = [source] * (1 + len(others) if is_one_file else 1)
    return read_channel(paths, 0, ReadOptions(series, volume, Acceptance(accept)))
