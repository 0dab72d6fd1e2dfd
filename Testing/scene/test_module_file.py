"""MorseSegment.py as Slicer loads it, with the few Slicer classes that slicer-core lacks."""

import importlib.util
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from MorseCore.inference.files import write_result
from MorseCore.result import Segmentation
from MorseSegmentLib.selftests.phantomscene import sceneContent

MODULE_FILE = Path(__file__).parents[2] / "MorseSegment" / "MorseSegment.py"


class Base:
    """Parent of the module, its widget and its logic."""

    def __init__(self, parent: Any = None) -> None:
        self.parent = parent


def stand_in(name: str, **members: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(members)
    return module


@pytest.fixture
def a_module(a_scene: Any, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    names = ("", "Widget", "Logic", "Test")
    bases = {f"ScriptedLoadableModule{name}": type(name or "Module", (Base,), {}) for name in names}
    text = {"tr": lambda words: words, "translate": lambda context, words: words}
    monkeypatch.setitem(sys.modules, "slicer.i18n", stand_in("slicer.i18n", **text))
    base_module = stand_in("slicer.ScriptedLoadableModule", **bases)
    monkeypatch.setitem(sys.modules, "slicer.ScriptedLoadableModule", base_module)
    spec = importlib.util.spec_from_file_location("MorseSegment", MODULE_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_slicer_learns_title_and_category(a_module: types.ModuleType) -> None:
    parent = types.SimpleNamespace()
    a_module.MorseSegment(parent)
    assert parent.title == "Morse Segment"
    assert parent.categories == ["Segmentation"]


def test_a_result_folder_is_shown_by_one_call(
    a_module: types.ModuleType, a_result: Segmentation, a_volume_node: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "case_07"
    write_result(folder, a_result)
    shown = a_module.MorseSegmentLogic().showResultFolder(folder, a_volume_node)
    node = slicer.mrmlScene.GetFirstNodeByName("case_07 refined")
    assert node.GetID() == shown.refined
    found = slicer.util.arrayFromSegmentBinaryLabelmap(node, "Head", a_volume_node)
    np.testing.assert_array_equal(found > 0, a_result.refined == 1)


def test_a_result_is_removed_without_a_trace(
    a_module: types.ModuleType, a_result: Segmentation, a_volume_node: Any
) -> None:
    logic, before = a_module.MorseSegmentLogic(), sceneContent()
    shown = logic.showResult(a_result, a_volume_node)
    assert len(sceneContent()) > len(before)
    logic.removeResult(shown)
    assert sceneContent() == before


def test_starting_slicer_does_not_load_torch() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import MorseSegmentLib.scene.result, "
        "MorseSegmentLib.logic.waiting; "
        "sys.exit('torch' in sys.modules or 'SimpleITK' in sys.modules)"
    )
    folders = [str(MODULE_FILE.parents[1]), str(MODULE_FILE.parent)]
    assert subprocess.run([sys.executable, "-c", code, *folders]).returncode == 0
