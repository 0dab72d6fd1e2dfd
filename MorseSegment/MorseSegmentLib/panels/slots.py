"""Connecting widgets so that a failing slot shows a message, and a misspelt signal is noticed."""

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import slicer
from slicer.i18n import tr as _

__all__ = ["blocked", "connect", "fillCombo"]


def connect(widget: Any, signal: str, slot: Callable[..., None]) -> None:
    """Connect a signal, named with its types; errors of the slot are shown to the person.

    :raises RuntimeError: if the widget has no such signal.
    """

    def receive(*values: Any) -> None:
        with slicer.util.tryWithErrorDisplay(_("That did not work.")):
            slot(*values)

    if not widget.connect(signal, receive):
        raise RuntimeError(f"{widget.objectName} has no signal {signal}")


@contextmanager
def blocked(*widgets: Any) -> Any:
    """Change widgets without their signals."""
    before = [widget.blockSignals(True) for widget in widgets]
    try:
        yield
    finally:
        for widget, was in zip(widgets, before, strict=True):
            widget.blockSignals(was)


def fillCombo(combo: Any, entries: list[tuple[str, Any]], current: Any) -> None:
    """Show entries (text, data) and choose the one that holds ``current``, else the first."""
    with blocked(combo):
        combo.clear()
        for text, data in entries:
            combo.addItem(text, data)
        combo.currentIndex = max(0, combo.findData(current))
