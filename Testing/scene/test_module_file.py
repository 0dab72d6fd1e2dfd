"""MorseSegment.py as Slicer loads it, with the few Slicer classes that slicer-core lacks."""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from MorseCore.inference.files import write_result
from MorseCore.result import Segmentation

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
