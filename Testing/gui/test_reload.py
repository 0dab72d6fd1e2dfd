"""The developer's *Reload*, as Slicer does it: what the old panel held is free, the new one works.

slicer.util.reloadScriptedModule is Slicer's own; the module manager and the widget that holds the
panel are stand-ins.
"""

import gc
import stat
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from listeners import children, isAlive
from slicerqt import install, processEvents, waitFor

install()

MODULE_FILE = Path(__file__).parents[2] / "MorseSegment" / "MorseSegment.py"
PACKAGES = ("MorseSegmentLib", "MorseCore")


def library() -> dict[str, Any]:
    """What is loaded of our packages."""
    return {n: m for n, m in sys.modules.items() if n.partition(".")[0] in PACKAGES}


@pytest.fixture
def the_library() -> Iterator[dict[str, Any]]:
    """As it was before, for the tests that come after: they hold its classes."""
    before = library()
    yield before
    for name in library():
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def a_module(
    a_scene: Any, the_library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The module in front; a reload finds its worker by PATH, so the fake one is there."""
    fake = Path(__file__).with_name("fake_worker.py")
    program = tmp_path / "PythonSlicer"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -u "{fake}"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    manager = slicer.app.moduleManager()
    module = manager.load(MODULE_FILE)
    module.widgetRepresentation().enter()
    waitFor(lambda: widget_of(module).ui.modelSelector.count > 0, seconds=60)
    yield module
    manager.unload("MorseSegment")
    waitFor(lambda: not children(), seconds=5)


def widget_of(module: Any) -> Any:
    return module.widgetRepresentation().self()


def a_volume(name: str) -> Any:
    voxels = np.zeros((4, 5, 6), np.int16)
    voxels[1:3, 1:3, 1:3] = 100
    return slicer.util.addVolumeFromArray(voxels, name=name)


def start(widget: Any, volume: Any, model: str) -> None:
    widget.ui.volumeSelector.setCurrentNode(volume)
    widget.ui.modelSelector.currentIndex = widget.ui.modelSelector.findData(model)
    widget.ui.segmentButton.click()


def reload(module: Any) -> Any:
    """Press *Reload*, wait until the new panel has asked its worker; returns it."""
    widget_of(module).onReload()
    processEvents()
    waitFor(lambda: widget_of(module).ui.modelSelector.count > 0, seconds=60)
    return widget_of(module)


def test_a_reload_during_a_run_ends_its_worker_and_the_next_run_works(a_module: Any) -> None:
    volume = a_volume("Scan")
    old = widget_of(a_module)
    start(old, volume, "slow")
    waitFor(lambda: bool(old.ui.logEdit.plainText), seconds=30)
    pid = int(old.ui.logEdit.plainText.splitlines()[0])
    before = slicer.mrmlScene.GetNumberOfNodes()
    new = reload(a_module)
    assert not isAlive(pid)
    assert len(children()) == 1, "the new panel's worker"
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert new.ui.volumeSelector.currentNode() is volume
    start(new, volume, "quick")
    waitFor(lambda: not new.panels.segmenter.isBusy, seconds=30)
    from MorseSegmentLib.scene.record import findResults

    assert len(findResults(slicer.mrmlScene)) == 1


def test_a_reload_loads_every_file_of_the_library_anew(
    a_module: Any, the_library: dict[str, Any]
) -> None:
    old = library()
    reload(a_module)
    new = library()
    assert {"MorseSegmentLib.panels.panelset", "MorseCore.geometry"} <= set(new)
    assert [name for name in new if new[name] is old.get(name)] == []


def test_a_reload_leaves_one_key_and_no_widget_of_the_old_panel(a_module: Any) -> None:
    old, holder = widget_of(a_module), a_module.widgetRepresentation()
    reload(a_module)
    reload(a_module)
    assert len(holder.findChildren("QShortcut")) == 1
    assert len(holder.findChildren("QPlainTextEdit")) == 1
    assert not old.ui.segmentButton, "it is destroyed"


def test_the_old_panel_no_longer_follows_the_scene(a_module: Any) -> None:
    first, second = a_volume("First"), a_volume("Second")
    widget_of(a_module).ui.volumeSelector.setCurrentNode(first)
    new = reload(a_module)
    new.ui.volumeSelector.setCurrentNode(second)
    processEvents()
    slicer.mrmlScene.RemoveNode(first)
    processEvents()
    assert new.ui.volumeSelector.currentNode() is second


def test_nothing_holds_the_old_panel(a_module: Any) -> None:
    # Observers of the scene and slots of timers would.
    old = [weakref.ref(part) for part in (widget_of(a_module), widget_of(a_module).panels)]
    reload(a_module)
    processEvents()
    gc.collect()
    assert [part() for part in old] == [None, None]
