"""What the panels name exists: widgets in the .ui file, slots in it, functions of slicer.util."""

import ast
import importlib.util
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from repository_tree import REPOSITORY

MODULE = REPOSITORY / "MorseSegment"
UI = MODULE / "Resources" / "UI" / "MorseSegment.ui"
TREE = ET.parse(UI)
SOURCES = [
    MODULE / "MorseSegment.py",
    *(
        path
        for path in sorted((MODULE / "MorseSegmentLib").rglob("*.py"))
        if "offscreen" not in path.parts
    ),
]
PANELS = sorted((MODULE / "MorseSegmentLib" / "panels").glob("*.py"))
# Names of children that Slicer's composite widgets have themselves, measured in Slicer.
TAKEN = {"SegmentsTable", "Slider", "SpinBox", "FilterBar", "ComboBox", "Layout"}


def widgets() -> dict[str, str]:
    """Class by name."""
    return {w.get("name", ""): w.get("class", "") for w in TREE.iter("widget")}


def short(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def names_of_widgets(path: Path) -> set[str]:
    """x of every ``ui.x``, ``_ui.x`` and ``self.ui.x``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if name in ("ui", "_ui"):
                found.add(node.attr)
    return found


@pytest.mark.parametrize("path", [MODULE / "MorseSegment.py", *PANELS], ids=short)
def test_every_widget_that_is_used_is_in_the_ui_file(path: Path) -> None:
    assert names_of_widgets(path) - set(widgets()) == set()


def test_every_widget_in_the_ui_file_is_used() -> None:
    used = {name for path in PANELS for name in names_of_widgets(path)}
    passive = {
        name
        for name, kind in widgets().items()
        if kind in ("QLabel", "ctkCollapsibleButton", "qMRMLWidget")
    }
    assert set(widgets()) - used - passive == set()


def test_names_are_unique_and_hide_no_child_of_slicer_s_widgets() -> None:
    names = [element.get("name", "") for tag in ("widget", "layout") for element in TREE.iter(tag)]
    assert len(names) == len(set(names))
    assert not TAKEN & set(names)


def test_every_node_selector_gets_the_scene_from_the_file() -> None:
    connections = {
        (c.findtext("sender"), c.findtext("signal"), c.findtext("receiver"), c.findtext("slot"))
        for c in TREE.iter("connection")
    }
    needed = {
        ("MorseSegment", "mrmlSceneChanged(vtkMRMLScene*)", name, "setMRMLScene(vtkMRMLScene*)")
        for name, kind in widgets().items()
        if kind == "qMRMLNodeComboBox"
    }
    assert needed
    assert connections == needed


def test_every_class_of_another_library_is_declared() -> None:
    declared = {c.findtext("class") for c in TREE.iter("customwidget")}
    assert {kind for kind in widgets().values() if not kind.startswith("Q")} == declared


def test_every_text_for_a_person_in_the_panels_goes_through_translation() -> None:
    shown = re.compile(r"\.(text|toolTip|windowTitle) = \(?f?[\"'](?![\"'])")
    for path in PANELS:
        assert not shown.search(path.read_text(encoding="utf-8")), short(path)


def test_only_whole_texts_are_translated() -> None:
    for path in PANELS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_":
                (text,) = node.args
                assert isinstance(text, ast.Constant), f"{short(path)}:{node.lineno}"


def test_every_slot_that_is_connected_exists() -> None:
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        methods = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "connect":
                slot = node.args[2]
                if isinstance(slot, ast.Attribute) and getattr(slot.value, "id", "") == "self":
                    assert slot.attr in methods, f"{short(path)}:{node.lineno}"


def test_every_function_of_slicer_util_exists() -> None:
    spec = importlib.util.find_spec("slicer")
    if spec is None or spec.origin is None:
        pytest.skip("NOT TESTED: pip install slicer-core==5.12.4.0")
    util = Path(spec.origin).with_name("util.py")
    defined = {
        node.name
        for node in ast.parse(util.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    for path in SOURCES:
        used = set(re.findall(r"slicer\.util\.(\w+)", path.read_text(encoding="utf-8")))
        assert used - defined == set(), short(path)
