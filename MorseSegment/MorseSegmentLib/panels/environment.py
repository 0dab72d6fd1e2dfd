"""Environment: what there is to compute with, and how to get what is missing."""

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MorseSegmentLib.panels.widgets import connect
from MorseSegmentLib.worker.catalog import Catalog
from MorseSegmentLib.worker.install import consentText, install, missing, report, statusText
from MorseSegmentLib.worker.launch import Failure

__all__ = ["EnvironmentPanel"]


class EnvironmentPanel:
    """Status, installation with consent, and a report to copy.

    :param ask: asks the worker again.
    :param stop: ends the worker, which holds what it has imported.
    """

    def __init__(self, ui: Any, ask: Callable[[], None], *, stop: Callable[[], None]) -> None:
        self._ui, self._ask, self._stop = ui, ask, stop
        self._catalog, self._problem = Catalog(), ""
        connect(ui.installButton, "clicked()", self._onInstall)
        connect(ui.copyReportButton, "clicked()", self._onCopy)
        ui.environmentLabel.text = _("Not checked yet.")

    def setCatalog(self, catalog: Catalog) -> None:
        """Show what the worker found."""
        self._catalog = catalog
        text = statusText(catalog)
        if lacking := missing():
            names = ", ".join(f"{item.name} {item.versions}" for item in lacking)
            wanted = _("Needed: {names}; press Install.").format(names=names)
        else:
            wanted = _("All packages that are needed are there.")
        self._ui.environmentLabel.text = text + "\n" + wanted

    def setFailure(self, failure: Failure | None) -> None:
        """Show why the worker could not answer; None: it could."""
        self._problem = "" if failure is None else f"{failure.message}\n{failure.detail}"
        self._ui.installButton.enabled = bool(missing())
        if failure is not None:
            self._ui.environmentLabel.text = failure.message
            self._ui.environmentCollapsibleButton.collapsed = False

    def _onInstall(self) -> None:
        packages = missing()
        if packages and slicer.util.confirmOkCancelDisplay(consentText(packages)):
            self._stop()  # Windows does not replace libraries that are in use
            with slicer.util.WaitCursor():
                install(packages)
        self._ask()

    def _onCopy(self) -> None:
        text = report(self._catalog, self._problem, self._ui.logEdit.plainText)
        qt.QApplication.clipboard().setText(text)
        slicer.util.showStatusMessage(_("The report was copied."), 2000)
