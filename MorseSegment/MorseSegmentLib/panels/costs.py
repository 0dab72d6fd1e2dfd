"""What a run will cost, in words: windows, points, and seconds where they are known."""

from slicer.i18n import tr as _

from MorseCore.errors import MorseError
from MorseCore.images.workload import Workload, plan_workload
from MorseSegmentLib.logic.inputs import readVolume, regionText
from MorseSegmentLib.logic.sequences import findSequence
from MorseSegmentLib.logic.state import ModuleState
from MorseSegmentLib.worker.catalog import Model
from MorseSegmentLib.worker.runtimes import RunTimes

__all__ = ["costText", "frameCount", "planned"]


def frameCount(state: ModuleState) -> int:
    """How many images the next run segments."""
    parameters = state.parameters
    if parameters.frames != "all":
        return 1
    sequence = findSequence(state.scene, state.scene.GetNodeByID(parameters.inputVolume))
    return 1 if sequence is None else len(sequence)


def planned(state: ModuleState, model: Model) -> Workload | None:
    """The work for one image of the next run; None if it cannot be run as it stands."""
    from MorseCore.images.roi import parse_roi, roi_to_box

    parameters, scene = state.parameters, state.scene
    volumeNode = scene.GetNodeByID(parameters.inputVolume) if parameters.inputVolume else None
    roiNode = scene.GetNodeByID(parameters.roi) if parameters.roi else None
    if not model.window:  # a worker of another version
        return None
    try:
        geometry = readVolume(volumeNode).geometry
        region = regionText(roiNode, volumeNode)
        if region is None and model.findsPlace:  # the work depends on what it finds
            return None
        if region is not None:
            geometry = geometry.crop(*roi_to_box(parse_roi(region), geometry))
        points, passes = model.rendering(parameters.quality)
        return plan_workload(
            geometry, window=model.window, spacing=model.spacing, overlap=model.overlap,
            points=points or 0, passes=passes or 0,
        )  # fmt: skip
    except MorseError:  # the button says why
        return None


def costText(
    model: Model, quality: int, work: Workload | None, times: RunTimes, frames: int
) -> str:
    """What the chosen quality means, and what the next run takes.

    :param work: for each of ``frames`` images.
    """
    texts = [_qualityText(model, quality)]
    if work is None and model.findsPlace:
        texts.append(_("It finds its place in a whole scan by itself; a region is not needed."))
    if work is not None:
        seconds = times.seconds(work)
        windows = work.windows * frames
        size = (
            _("One window, up to {points} points")
            if windows == 1
            else _("{windows} windows, up to {points} points")
        ).format(windows=windows, points=work.points * frames)
        if seconds is None:
            texts.append(
                _("{size}: the first such run on this device, so its time is unknown.").format(
                    size=size
                )
            )
        else:
            texts.append(
                _("{size}: about {seconds} s, judging by the last runs on this device.").format(
                    size=size, seconds=max(1, round(seconds * frames))
                )
            )
    return "\n".join(texts)


def _qualityText(model: Model, quality: int) -> str:
    points, passes = model.rendering(quality)
    if points is None:
        return _("The model renders as many points as it finds necessary.")
    if not passes:
        return _("No points are rendered: the refined mask is the coarse one.")
    cost = model.relativeCost(quality)
    if not model.leavesCertain and cost == 1:
        text = _("{passes} x {points} points are rendered in a window: the model's own choice.")
    elif not model.leavesCertain:
        text = _(
            "{passes} x {points} points are rendered in a window: {cost} x the model's choice."
        )
    elif cost <= 1 or model.asksScan:
        text = _("Up to {passes} x {points} points are rendered in a window, uncertain ones only.")
    else:
        text = _("{passes} x {points} points are rendered in a window, certain ones too.")
    return text.format(passes=passes, points=points, cost=f"{cost:g}")
