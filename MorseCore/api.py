"""What ``import MorseCore`` offers: segment a scan, keep a model warm, ask its field, score masks.

Example::

    from MorseCore import segment

    result = segment("brain.nii.gz", model="hippocampus-t1", roi="-42,-6,-47,3,-32,6")
    result.refined.array                     # (K, J, I) labels on the scan's own grid
    result.save("out")                       # the files that ``morsesegment segment`` writes
    finer = result.render(scale=2)           # the field asked again, no second pass
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from MorseCore.errors import ImageError, MorseError
from MorseCore.geometry import Geometry
from MorseCore.images.channels import join_channels, read_channels
from MorseCore.images.imageio import ReadOptions, Volume, read_volume, volume_from_itk
from MorseCore.images.names import channel_paths
from MorseCore.images.roi import Roi, parse_roi
from MorseCore.inference.files import MaskFormat, write_result
from MorseCore.inference.options import PredictOptions, Verdict
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.whole_scan import ScanSession, open_session
from MorseCore.metrics.evaluation import evaluate_folder
from MorseCore.metrics.scores import Rule
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import ModelInfo, read_model
from MorseCore.system.acceptance import Acceptance

__all__ = ["Predictor", "Result", "evaluate", "read_image", "segment"]

Image = str | PathLike[str] | Volume | SimpleITK.Image | np.ndarray
"""A path, what :func:`read_image` gives, an image of SimpleITK's, or an array (K, J, I)."""
Channels = list[Image] | tuple[Image, ...]
"""The images of a case, in the order of the model's channels."""


@dataclass(frozen=True, eq=False)
class Result:
    """A segmented scan. Maps are (K, J, I) on the scan's own grid, with that grid beside them."""

    _segmentation: Segmentation
    _session: ScanSession | None = field(default=None, repr=False)

    @property
    def coarse(self) -> Volume:
        """Labels before rendering."""
        return self._volume(self._segmentation.coarse, "coarse")

    @property
    def refined(self) -> Volume:
        """Labels after rendering."""
        return self._volume(self._segmentation.refined, "refined")

    @property
    def brain(self) -> Volume:
        """The brain's mask with its ventricles, 0 and 1.

        :raises MorseError: if the model's structures are not a whole brain's.
        """
        mask = self._segmentation.brain()
        if mask is None:
            raise MorseError(
                "The model's structures are not a whole brain's: it has no mask of it."
            )
        return self._volume(mask, "brain")

    @property
    def freesurfer(self) -> Volume:
        """The refined labels under FreeSurfer's numbers.

        :raises MorseError: if the model's structures have none.
        """
        labels = self._segmentation.in_freesurfer_numbers()
        if labels is None:
            raise MorseError("The model's structures have no numbers of FreeSurfer's.")
        return self._volume(labels, "freesurfer")

    @property
    def uncertainty(self) -> Volume:
        """0 sure … 1 undecided, before rendering; float32."""
        return self._volume(self._segmentation.uncertainty, "uncertainty")

    @property
    def points(self) -> RenderedPoints:
        """The voxels that were rendered, most uncertain first."""
        return self._segmentation.points

    @property
    def structures(self) -> Sequence[Structure]:
        """What each label means."""
        return self._segmentation.structures

    @property
    def volumes(self) -> list[dict[str, Any]]:
        """A row a structure: name, side, ml before and after rendering, and how they differ.

        Of a whole head also ``Brain`` and ``Intracranial`` (an estimate), which are no labels.
        """
        known = {item.value: item for item in self.structures}
        table = []
        for row in self.report.get("structures", []):
            item = known[row["value"]]
            table.append({**row, "side": item.side, "freesurfer": item.freesurfer})
        brain = self.report.get("brain", {})
        for name in ("Brain", "Intracranial"):
            if (ml := brain.get(f"{name.lower()}_ml")) is not None:
                table.append({"name": name, "side": "", "refined_ml": ml})
        return table

    @property
    def report(self) -> dict[str, Any]:
        """What ``report.json`` holds: model, versions, timings, volumes, what changed."""
        return self._segmentation.report

    def save(self, folder: str | PathLike[str], *, mask_format: MaskFormat = "nii.gz") -> Path:
        """Write masks, uncertainty, points and report, as the command does; returns the folder.

        :raises OutputError: if it cannot be written; what was there stays as it was.
        """
        path = Path(fspath(folder))
        write_result(path, self._segmentation, mask_format=mask_format)
        return path

    def render(
        self,
        *,
        scale: int = 1,
        roi: Roi | str | None = None,
        points: int | None = None,
        passes: int | None = None,
    ) -> "Result":
        """Ask the field again: finer, in a box, or at more points; the backbone does not run.

        :param scale: output this many times finer, 1 to 4.
        :param roi: as in :func:`segment`; None: all that was segmented.
        :raises MorseError: if the scan was too large to keep its field, or this result is itself an
            answer to such a question.
        """
        if self._session is None:
            raise MorseError("Ask the result that came from segmenting, not one that was rendered.")
        options = PredictOptions(roi=_box(roi), points=points, passes=passes, scale=scale)
        return Result(self._session.render(options))

    def _volume(self, array: np.ndarray, name: str) -> Volume:
        return Volume(array, self._segmentation.geometry, name)


class Predictor:
    """A model kept warm: segments one scan after the other.

    Example::

        predictor = Predictor("hippocampus-t1", device="cpu")
        for path in paths:
            predictor.segment(path, roi=box).save(path.stem)

    :param model: name of a model (``morsesegment models list``) or a model folder.
    :param device: ``auto``, ``cpu`` or ``cuda:N``.
    :param engine: ``torch`` or ``openvino``; what computes the backbone.
    :raises ModelError: if the model is not there or cannot be used.
    :raises DeviceError: if the device is not there.
    """

    def __init__(
        self, model: str | PathLike[str], *, device: str = "auto", engine: str = "torch"
    ) -> None:
        self._predictor = VolumePredictor(find_model(fspath(model)), device=device, engine=engine)

    @property
    def info(self) -> ModelInfo:
        """What the model says of itself."""
        return self._predictor.info

    def segment(
        self,
        image: Image | Channels,
        *,
        roi: Roi | str | None = None,
        points: int | None = None,
        passes: int | None = None,
        scale: int = 1,
        spacing: Sequence[float] | None = None,
        origin: Sequence[float] | None = None,
        direction: Sequence[float] | None = None,
        series: str | None = None,
        volume: int | None = None,
        accept: Sequence[str] = (),
        verdict: Verdict = "fast",
        progress: Callable[[str, float], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Result:
        """Segment a scan; see :func:`segment`.

        :param progress: called with the stage and 0..1.
        :param should_stop: asked between windows.
        :raises ImageError: if the image cannot be read or is no scan.
        :raises GeometryError: if its grid is impossible or the region lies outside of it.
        :raises Cancelled: if ``should_stop`` answered yes.
        """
        scan = _as_volume(
            image, spacing=spacing, origin=origin, direction=direction,
            choice=ReadOptions(series, volume, Acceptance(accept)),
            channels=self.info.network.in_channels,
        )  # fmt: skip
        options = PredictOptions(
            roi=_box(roi), points=points, passes=passes, scale=scale, accept=tuple(accept),
            verdict=verdict,
        )  # fmt: skip
        session = open_session(self._predictor, scan, options)
        return Result(session.segment(progress=progress, should_stop=should_stop), session)


def segment(
    image: Image | Channels,
    *,
    model: str | PathLike[str] = "brain-mr",
    roi: Roi | str | None = None,
    points: int | None = None,
    passes: int | None = None,
    scale: int = 1,
    device: str = "auto",
    engine: str = "torch",
    spacing: Sequence[float] | None = None,
    origin: Sequence[float] | None = None,
    direction: Sequence[float] | None = None,
    series: str | None = None,
    volume: int | None = None,
    accept: Sequence[str] = (),
    verdict: Verdict = "fast",
) -> Result:
    """Segment one scan; for several keep a :class:`Predictor`.

    :param image: a path (NIfTI, NRRD, MHA, DICOM folder …), what :func:`read_image` gives, an image
        of SimpleITK's, or an array (K, J, I). For a model of several channels a list of them, in
        its order, or the path of one (``case_0000.nii.gz``) that has the others beside it.
    :param model: name of a model or a model folder; default: the brain's, for any MR contrast.
    :param roi: where to segment: ``"r0,r1,a0,a1,s0,s1"`` in RAS mm or
        ``"ijk:i0,i1,j0,j1,k0,k1"`` in voxels; None: where the model finds its place, or everywhere.
    :param points: rendered per window and pass, at most; None: the model's.
    :param passes: of rendering; 0: coarse only; None: the model's.
    :param scale: output this many times finer, 1 to 4.
    :param spacing: of an array, mm along (i, j, k); needed there.
    :param origin: of an array, centre of its first voxel, LPS mm; default 0, 0, 0.
    :param direction: of an array, nine numbers by rows as SimpleITK has them, LPS; default:
        i runs to the left, j to posterior, k to superior.
    :param series: of a DICOM folder with several: the UID, its beginning or its end.
    :param volume: of a file or series with several volumes: which one, counted from 0.
    :param accept: names of refusals to overrule; a refusal says its name.
    :param verdict: how the result is checked: ``fast``, ``full`` or ``off``; it is in
        ``result.report["verdict"]``.
    :raises MorseError: in one sentence, whatever is wrong.
    """
    return Predictor(model, device=device, engine=engine).segment(
        image, roi=roi, points=points, passes=passes, scale=scale, spacing=spacing, origin=origin,
        direction=direction, series=series, volume=volume, accept=accept, verdict=verdict,
    )  # fmt: skip


def read_image(
    path: str | PathLike[str],
    *,
    series: str | None = None,
    volume: int | None = None,
    accept: Sequence[str] = (),
) -> Volume:
    """Read a scan: its voxels (K, J, I), and where they are in the patient (RAS mm).

    :param series: of a DICOM folder with several: the UID, its beginning or its end.
    :param volume: of a file or series with several: which one, counted from 0.
    :param accept: names of refusals to overrule.
    :raises ImageError: if there is no such file, or it is damaged, or not one scalar image.
    :raises GeometryError: if its grid is impossible.
    """
    return read_volume(Path(fspath(path)), ReadOptions(series, volume, Acceptance(accept)))


def evaluate(
    prediction: str | PathLike[str],
    reference: str | PathLike[str],
    *,
    model: str | PathLike[str] | None = None,
    rule: Rule = "mm",
    output: str | PathLike[str] | None = None,
) -> dict[str, Any]:
    """Score a folder of masks against a folder of reference masks, as ``morsesegment evaluate``.

    :param prediction: what was saved, or one label map a case.
    :param reference: one label map a case, named like it.
    :param model: whose structures' names to use.
    :param rule: distances in ``mm``, in ``voxel``, or ``legacy`` as behind the papers' tables.
    :param output: a JSON file to write; a CSV is written beside it.
    :return: the summary: per stage and structure, means over all cases.
    :raises DatasetError: if the folders do not fit together.
    """
    labels = None
    if model is not None:
        labels = {s.value: s.name for s in read_model(find_model(fspath(model))).structures}
    return evaluate_folder(
        Path(fspath(prediction)), Path(fspath(reference)), labels=labels, rule=rule,
        output=None if output is None else Path(fspath(output)),
    )  # fmt: skip


def _box(roi: Roi | str | None) -> Roi | None:
    return parse_roi(roi) if isinstance(roi, str) else roi


def _as_volume(
    image: Image | Channels,
    *,
    spacing: Sequence[float] | None,
    origin: Sequence[float] | None,
    direction: Sequence[float] | None,
    choice: ReadOptions,
    channels: int = 1,
) -> Volume:
    """:param channels: that a file's case may have, with its neighbours or its fourth axis."""
    if isinstance(image, list | tuple):
        if not image:
            raise ImageError("There is no image to segment; the list is empty.")
        return join_channels([
            _as_volume(one, spacing=spacing, origin=origin, direction=direction, choice=choice)
            for one in image
        ])  # fmt: skip
    if isinstance(image, (np.ndarray, Volume, SimpleITK.Image)) and (
        choice.series is not None or choice.volume is not None
    ):
        raise ImageError("'series' and 'volume' choose from a file; this image is in memory.")
    if isinstance(image, np.ndarray):
        return _from_array(image, spacing=spacing, origin=origin, direction=direction)
    if any(value is not None for value in (spacing, origin, direction)):
        raise ImageError(
            "'spacing', 'origin' and 'direction' belong to an array; this image has its own."
        )
    if isinstance(image, Volume):
        return image
    if isinstance(image, SimpleITK.Image):
        return volume_from_itk(image, source="image")
    path = Path(fspath(image))
    return read_channels(channel_paths(path, channels) if channels > 1 else [path], choice)


def _from_array(
    array: np.ndarray,
    *,
    spacing: Sequence[float] | None,
    origin: Sequence[float] | None,
    direction: Sequence[float] | None,
) -> Volume:
    if array.ndim not in (2, 3):
        raise ImageError(f"An array must have the axes (K, J, I) or (J, I); found {array.ndim}.")
    dims = array.ndim
    if spacing is None or len(spacing) != dims:
        raise ImageError(f"An array needs its 'spacing': {dims} numbers, mm along i, j[, k].")
    whole = array if dims == 3 else array[None]
    k, j, i = whole.shape
    geometry = Geometry.from_lps(
        (k, j, i),
        spacing=(*map(float, spacing), 1.0)[:3],
        origin=(0.0, 0.0, 0.0) if origin is None else tuple(map(float, origin)),
        direction=(1, 0, 0, 0, 1, 0, 0, 0, 1) if direction is None else tuple(direction),
    )
    return Volume(whole, geometry, "array", dims)
