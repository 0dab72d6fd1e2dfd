"""What Slicer itself does beside the panel: imports, new scenes, scrolling, a lacking package."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from slicerqt import install, processEvents

install()

from MorseCore.result import Segmentation
from MorseSegmentLib.worker import launch
from MorseSegmentLib.worker.launch import WorkerCommand, describeEnd, workerCommand
from MorseSegmentLib.worker.runner import Runner
from panel import choose, press_segment, ranks, wait_until_idle
from panel_fixtures import a_result, a_volume, shown

__all__ = ["a_result", "a_volume", "shown"]  # fixtures

ROOT = Path(__file__).resolve().parents[2]


def test_an_import_into_the_scene_changes_no_choice(
    a_widget: Any, a_volume: Any, a_scene: Any, tmp_path: Path
) -> None:
    elsewhere = slicer.vtkMRMLScene()
    elsewhere.AddNewNodeByClass("vtkMRMLTextNode", "Notes")
    elsewhere.SetURL(str(tmp_path / "other.mrml"))
    assert elsewhere.Commit()
    choose(a_widget, a_volume, "quick")
    a_scene.SetURL(str(tmp_path / "other.mrml"))
    assert a_scene.Import()  # adds to what is there
    processEvents()
    assert slicer.util.getNode("Notes")
    assert a_widget.ui.volumeSelector.currentNode() is a_volume
    assert a_widget.panels.state.parameters.inputVolume == a_volume.GetID()


def test_what_an_import_brings_along_is_chosen_all_the_same(
    a_widget: Any, a_volume: Any, a_scene: Any, tmp_path: Path
) -> None:
    choose(a_widget, a_volume, "quick")
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    a_scene.Clear(False)
    other = slicer.util.addVolumeFromArray(np.ones((3, 3, 3), np.int16), name="Other")
    a_widget.ui.volumeSelector.setCurrentNode(other)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    processEvents()
    chosen = a_widget.panels.state.parameters.inputVolume
    assert a_scene.GetNodeByID(chosen) is a_widget.ui.volumeSelector.currentNode()
    a_widget.ui.volumeSelector.setCurrentNode(other)  # and a person may still choose
    assert a_widget.panels.state.parameters.inputVolume == other.GetID()


def test_the_field_of_a_closed_scene_answers_for_no_result_of_the_next(
    a_widget: Any, a_volume: Any, a_scene: Any, a_result: Segmentation
) -> None:
    press_segment(a_widget, a_volume, "quick")
    wait_until_idle(a_widget)
    former = a_widget.panels.state.shown
    assert a_widget.panels.segmenter.hasField(former)
    a_scene.Clear(False)
    later = a_widget.logic.showResult(a_result)
    assert later.record == former.record, "IDs begin anew; else this test says nothing"
    assert not a_widget.panels.segmenter.hasField(later)
    assert not a_widget.ui.renderBoxButton.enabled


def test_masks_are_empty_before_the_scene_goes(shown: Any, a_scene: Any) -> None:
    masks = [a_scene.GetNodeByID(node_id) for node_id in (shown.coarse, shown.refined)]
    assert all(mask.GetSegmentation().GetNumberOfSegments() == 2 for mask in masks)
    drawn = a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn by hand")
    drawn.GetSegmentation().AddEmptySegment("mine")
    a_scene.Clear(False)
    assert all(mask.GetSegmentation().GetNumberOfSegments() == 0 for mask in masks)
    assert drawn.GetSegmentation().GetNumberOfSegments() == 1


def test_a_press_on_a_line_that_is_cut_off_selects_that_line(
    a_widget: Any, shown: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtTest import QTest

    table = a_widget.ui.pointTable._native
    table.setFixedHeight(table.horizontalHeader().height() + int(2.5 * table.rowHeight(0)) + 4)
    table.window().show()
    processEvents()
    a_widget.ui.uncertaintySlider.value = 0.0
    assert len(ranks(a_widget)) == 5
    table.scrollToTop()
    processEvents()
    bottom = table.viewport().height() - 2
    line = table.rowAt(bottom)
    assert table.rowViewportPosition(line) + table.rowHeight(line) > bottom + 2, "it is cut off"
    QTest.mousePress(table.viewport(), Qt.LeftButton, Qt.NoModifier, QPoint(5, bottom))
    QTest.mouseRelease(table.viewport(), Qt.LeftButton, Qt.NoModifier, QPoint(5, bottom))
    chosen = {index.row() for index in table.selectionModel().selectedRows()}
    assert chosen == {line} == {table.currentRow()}
    assert f"Point {ranks(a_widget)[line]}:" in a_widget.ui.pointLabel.text


def test_a_lacking_package_is_named_with_what_to_do() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\nimport MorseCore.service.worker as w\nw.main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, encoding="utf-8",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write('{"request": "describe", "id": 1}\n{"request": "shutdown", "id": 2}\n')
    process.stdin.flush()
    answer = process.stdout.read().splitlines()[1]  # ends with the worker
    process.stdin.close()
    assert process.wait(timeout=30) == 0
    assert "The Python package 'torch' is missing; press Install" in answer
    assert '"MissingPackage"' in answer


def test_behind_slicers_launcher_a_crash_and_an_end_from_outside_look_alike() -> None:
    errors = "error: [/opt/Slicer/bin/PythonSlicer-real] exit abnormally - Report the problem.\n"
    failure = describeEnd(1, signalled=False, started=True, errors=errors)
    assert "crashed or was ended; Slicer's launcher does not say which" in failure.message
    assert "memory is short" in failure.message
    plain = describeEnd(1, signalled=False, started=True, errors="")
    assert "memory" not in plain.message


def test_another_python_is_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(launch.shutil, "which", lambda name: None)
    monkeypatch.setattr(launch.sys, "executable", "")
    monkeypatch.setattr(launch.sys, "base_prefix", str(tmp_path))
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.touch()
    assert workerCommand() == WorkerCommand(str(python), workerCommand().arguments, ())
    monkeypatch.setenv("MORSESEGMENT_PYTHON", "/opt/other/python")
    command = workerCommand()
    assert command.program == "/opt/other/python"
    assert "PYTHONHOME" in command.without_variables


def test_a_folder_that_is_in_use_is_removed_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Silent(Runner):
        isRunning = lambda self: False  # noqa: E731
        _start = _write = _terminate = _kill = _detach = _after = lambda self, *_: None

    runner = Silent(WorkerCommand("", ()), str(tmp_path))
    remove = launch.shutil.rmtree
    removal = "MorseSegmentLib.worker.runner.shutil.rmtree"
    monkeypatch.setattr(removal, lambda *_, **__: None)  # Windows
    task = runner.open()
    runner.cancel(task)
    assert task.folder.is_dir()
    monkeypatch.setattr(removal, remove)
    runner.stop()
    assert not list(tmp_path.iterdir())


def test_an_import_just_before_the_module_is_reloaded_touches_no_widget_that_is_gone(
    a_widget: Any, a_volume: Any, a_scene: Any, tmp_path: Path
) -> None:
    import shiboken6

    choose(a_widget, a_volume, "quick")
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    a_widget.cleanup()
    shiboken6.delete(a_widget.ui.volumeSelector._native)
    processEvents()  # an error in a slot fails the test
