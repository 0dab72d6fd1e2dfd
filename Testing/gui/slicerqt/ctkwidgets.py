"""CTK's widgets, the few that the module uses."""

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

__all__ = ["CLASSES"]


_UNLIMITED = 16777215  # QWIDGETSIZE_MAX
_STEPS = 1000  # of the slider, whatever the numbers are


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A title that hides or shows what is below it. ``checked`` is not ``collapsed``."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._collapsed = False
        preferred = QtWidgets.QSizePolicy.Policy.Preferred  # a button's own height is fixed
        self.setSizePolicy(preferred, preferred)
        self.setContentsMargins(4, 24, 4, 4)
        self.clicked.connect(lambda: self._setCollapsed(not self._collapsed))

    def _setCollapsed(self, collapsed: bool) -> None:
        if collapsed != self._collapsed:
            self._collapsed = collapsed
            self._showContents()
            self.contentsCollapsed.emit(collapsed)

    def _showContents(self) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(not self._collapsed)
        self.setMaximumHeight(24 if self._collapsed else _UNLIMITED)
        self.updateGeometry()

    collapsed = Property(bool, lambda self: self._collapsed, _setCollapsed)

    def sizeHint(self) -> QtCore.QSize:
        """The title alone, or with what the layout needs."""
        layout = self.layout()
        if self._collapsed or layout is None:
            return QtCore.QSize(100, 24)
        return layout.totalSizeHint()  # with the title

    def minimumSizeHint(self) -> QtCore.QSize:
        """As the size hint."""
        return self.sizeHint()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """A sign and the title."""
        painter = QtGui.QPainter(self)
        painter.fillRect(0, 0, self.width(), 22, self.palette().mid())
        painter.drawText(8, 16, f"{'+' if self._collapsed else '-'}  {self.text()}")


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider with a number. ``decimals`` only changes how the number looks."""

    valueChanged = Signal(float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._range, self._value, self._shown = (0.0, 99.99), 0.0, {"decimals": 2, "step": 1.0}
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._box = QtWidgets.QDoubleSpinBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._box)
        self._show()

    def _show(self) -> None:
        low, high = self._range
        self._box.setRange(low, high)
        self._box.setValue(self._value)
        self._slider.setRange(0, _STEPS)
        self._slider.setValue(round(_STEPS * (self._value - low) / max(high - low, 1e-9)))

    def setValue(self, value: float) -> None:
        """Clamped to the range; an equal value emits nothing."""
        clamped = min(max(float(value), self._range[0]), self._range[1])
        if clamped != self._value:
            self._value = clamped
            self._show()
            self.valueChanged.emit(clamped)

    def _setBounds(self, low: float, high: float) -> None:
        self._range = (low, max(low, high))
        self.setValue(self._value)
        self._show()

    def setMinimum(self, value: float) -> None:
        """May change the value."""
        self._setBounds(value, self._range[1])

    def setMaximum(self, value: float) -> None:
        """May change the value."""
        self._setBounds(self._range[0], value)

    def _setDecimals(self, decimals: int) -> None:
        self._shown["decimals"] = decimals
        self._box.setDecimals(decimals)

    def _setStep(self, step: float) -> None:
        if step >= 10.0 ** -self._shown["decimals"]:  # finer steps are refused
            self._shown["step"] = step

    value = Property(float, lambda self: self._value, setValue)
    minimum = Property(float, lambda self: self._range[0], setMinimum)
    maximum = Property(float, lambda self: self._range[1], setMaximum)
    decimals = Property(int, lambda self: self._shown["decimals"], _setDecimals)
    singleStep = Property(float, lambda self: self._shown["step"], _setStep)
    pageStep = Property(
        float,
        lambda self: self._shown.get("page", 10.0),
        lambda self, step: self._shown.update(page=step),
    )
    tracking = Property(
        bool,
        lambda self: self._shown.get("tracking", True),
        lambda self, on: self._shown.update(tracking=on),
    )


class ctkMessageBox(QtWidgets.QMessageBox):
    """Slicer's own message boxes."""


CLASSES: dict[str, type] = {
    owner.__name__: owner for owner in (ctkCollapsibleButton, ctkMessageBox, ctkSliderWidget)
}
