"""The widgets on PySide6 without a screen; skipped where it or slicer-core is not installed."""

import importlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest

sys.path.insert(0, str(Path(__file__).parent))


class ModuleWithoutQt(pytest.Module):
    """A test file that says why none of it runs, instead of failing at import."""

    def collect(self) -> NoReturn:
        pytest.skip(
            "NOT TESTED: needs Qt and Slicer's libraries; pip install 'morsesegment[gui]', and for "
            "Qt the system's libegl1 and libxkbcommon0",
            allow_module_level=True,
        )


@cache
def can_be_imported(*names: str) -> bool:
    """Whether the modules are there, with the system libraries (EGL, for Qt) that they link to."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    try:
        for name in names:
            importlib.import_module(name)
    except ImportError:
        return False
    return True


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> pytest.Module | None:
    """Put aside every file of this folder if Qt or Slicer's libraries are missing."""
    if not can_be_imported("slicer", "PySide6.QtWidgets", "PySide6.QtUiTools"):
        return ModuleWithoutQt.from_parent(parent, path=module_path)
    return None


@pytest.fixture
def a_scene() -> Iterator[Any]:
    """An empty vtkMRMLScene in an application with widgets, emptied again afterwards."""
    from slicerqt import install

    install()
    import slicer

    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(False)


@pytest.fixture
def a_widget(a_scene: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The panel, its models listed by a worker that computes nothing; it leaves nothing behind."""
    import slicer

    from listeners import children
    from MorseSegmentLib.panels import panelset
    from MorseSegmentLib.worker.launch import WorkerCommand
    from panel import close_widget, open_widget
    from slicerqt import waitFor

    fake = str(Path(__file__).with_name("fake_worker.py"))
    command = WorkerCommand(sys.executable, ("-u", fake))
    monkeypatch.setattr(panelset, "workerCommand", lambda: command)
    widget = open_widget()
    waitFor(lambda: widget.ui.modelSelector.count > 0, seconds=60)
    yield widget
    close_widget(widget)
    waitFor(lambda: not children(), seconds=5)
    assert not list(Path(slicer.app.temporaryPath).glob("morsesegment-*"))


@pytest.fixture
def an_axial_view(a_scene: Any) -> Any:
    """The red slice view's node; what moves the views moves it."""
    import slicer

    node = slicer.vtkMRMLSliceNode()
    node.SetLayoutName("Red")
    node = a_scene.AddNode(node)
    node.SetOrientation("Axial")
    return node


@pytest.fixture(autouse=True)
def no_slot_fails() -> Iterator[list[str]]:
    """Qt only prints errors of slots; here they fail the test. A test may clear the list."""
    from slicerqt import slotErrors

    slotErrors.clear()
    yield slotErrors
    assert not slotErrors, "\n".join(slotErrors)
