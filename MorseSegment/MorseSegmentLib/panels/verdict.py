"""Verdict: whether the shown result looks plausible, why not, and where."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from MorseCore.errors import MorseError
from MorseSegmentLib.logic.state import ModuleState
from MorseSegmentLib.panels.widgets import connect, showError
from MorseSegmentLib.scene.places import findPlaceInSteps, hasPlace
from MorseSegmentLib.scene.record import ResultRecord, readRecord
from MorseSegmentLib.scene.stepping import StepRunner
from MorseSegmentLib.scene.views import aimCameras, showSlices
from MorseSegmentLib.scene.watch import NodeWatch

__all__ = ["VerdictPanel"]

_COLORS = {  # behind the line and on it: both, so that the theme does not matter
    "ok": ("#1b5e20", "#ffffff"),
    "check": ("#ffc107", "#000000"),
    "implausible": ("#b71c1c", "#ffffff"),
}
_LISTED = 5  # reasons; the tool tip of a further line has the others


class VerdictPanel:
    """One coloured line above the panels, and below it the reasons, the worst first.

    It shows the verdict that came with the result. A result without one shows nothing.
    """

    def __init__(self, ui: Any, state: ModuleState) -> None:
        self._ui, self._state = ui, state
        self._told = ""  # the record's text that is shown
        self._widgets: list[Any] = []
        self._layout = qt.QGridLayout(ui.verdictReasons)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setColumnStretch(0, 1)
        self._watch = NodeWatch(self.refresh)  # a sequence's record is another in each frame
        self._search = StepRunner(lambda f: qt.QTimer.singleShot(1, f))
        state.signals.connect("changed", self.refresh)
        self.refresh()

    @property
    def isSearching(self) -> bool:
        """Whether a place is being looked for."""
        return self._search.isBusy

    def refresh(self) -> None:
        """Show the verdict of the result that the panels show."""
        shown, scene = self._state.shown, self._state.scene
        node = None if shown is None else scene.GetNodeByID(shown.record)
        self._watch.look(node)
        text = "" if node is None else node.GetText()
        if text == self._told:
            return
        self._search.stop()
        self._told, record = text, None
        if shown is not None:
            try:
                record = readRecord(scene, shown)
            except MorseError:  # of another version; Compare says so
                record = None
        self._show(record)

    def close(self) -> None:
        """Stop listening."""
        self._search.stop()
        self._watch.look(None)

    def _show(self, record: ResultRecord | None) -> None:
        verdict = None if record is None else record.report.get("verdict")
        label, reasons = self._ui.verdictLabel, []
        if record is not None and verdict is not None:
            behind, letters = _COLORS[verdict["level"]]
            label.styleSheet = (
                f"#verdictLabel {{ background: {behind}; color: {letters}; padding: 4px; "
                "font-weight: bold; }"
            )
            label.text = _lines()[verdict["level"]]
            label.toolTip = _caveat(verdict)
            reasons = verdict["reasons"]
        label.visible = verdict is not None
        self._ui.verdictReasons.visible = bool(reasons)
        self._list(record, reasons)

    def _list(self, record: ResultRecord | None, reasons: Sequence[Mapping[str, Any]]) -> None:
        for widget in self._widgets:
            self._layout.removeWidget(widget)
            widget.hide()
            widget.deleteLater()
        self._widgets = []
        for row, reason in enumerate(reasons[:_LISTED]):
            isPlaced = record is not None and hasPlace(record, reason)
            self._add(_words(reason["words"]), row, 0, width=1 if isPlaced else 2)
            if isPlaced:
                button = qt.QPushButton(_("Show where"))
                button.toolTip = _kindOfPlace(reason["signal"])
                connect(button, "clicked()", partial(self._onWhere, reason))
                self._add(button, row, 1)
        others = [reason["words"] for reason in reasons[_LISTED:]]
        if others:
            label, tip = _words(_("and {count} more").format(count=len(others))), " ".join(others)
            label.toolTip = tip
            self._add(label, _LISTED, 0)

    def _add(self, widget: Any, row: int, column: int, *, width: int = 1) -> None:
        self._layout.addWidget(widget, row, column, 1, width)
        self._widgets.append(widget)

    def _onWhere(self, reason: Mapping[str, Any]) -> None:
        shown = self._state.shown
        if shown is None:
            return
        steps = findPlaceInSteps(self._state.scene, shown, reason)
        self._search.start(steps, self._goTo, showError)
        if self.isSearching:
            slicer.util.showStatusMessage(_("Looking for the place..."), 3000)

    def _goTo(self, place: np.ndarray | None) -> None:
        if place is None:
            slicer.util.showStatusMessage(_("This place is no longer in the masks."), 3000)
        else:
            showSlices(self._state.scene, place.tolist())
            aimCameras(self._state.scene, place)


def _lines() -> dict[str, str]:
    return {
        "ok": _("Looks plausible, as far as checked"),
        "check": _("Check this result"),
        "implausible": _("Implausible"),
    }


def _caveat(verdict: Mapping[str, Any]) -> str:
    """For the tool tip: what the verdict does not say."""
    text = _("About the masks as the model made them; later edits are not checked.")
    if verdict["not_checked"]:
        names = ", ".join(verdict["not_checked"])
        text += " " + _("Not checked: {names}.").format(names=names)
    return text


def _kindOfPlace(signal: str) -> str:
    uncertain = _("Go to the most uncertain of its points.")
    return {
        "agreement": uncertain,
        "stability": uncertain,
        "attention": uncertain,
        "stray": _("Go to its largest piece apart."),
        "holes": _("Go to its largest hole."),
        "contact": _("Go to the face that cuts it."),
        "volume": _("Go to its middle."),
        "asymmetry": _("Go to the smaller side."),
    }[signal]


def _words(text: str) -> Any:
    """A QLabel that never makes the panel wider."""
    label = qt.QLabel(text)
    label.wordWrap = True
    label.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Preferred)
    return label
