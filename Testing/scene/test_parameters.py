"""The settings as a dataclass, as a node, and in a saved scene."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import slicer

from MorseSegmentLib.logic.parameters import (
    VERSION,
    Parameters,
    isFromNewerVersion,
    parameterNode,
    readParameters,
    writeParameters,
)


@pytest.fixture
def a_node(a_scene: Any) -> Any:
    return parameterNode(a_scene)


def some_settings(scene: Any) -> Parameters:
    """Every field has another value than its default."""

    def add(kind: str) -> str:
        return str(scene.AddNewNodeByClass(kind).GetID())

    return Parameters(
        model="liver",
        device="cuda:1",
        quality=5,
        view="coarse",
        minimumUncertainty=0.45,
        pointStructure=2,
        pointChange="unchanged",
        refineQuality=2,
        refineScale=3,
        inputVolume=add("vtkMRMLScalarVolumeNode"),
        roi=add("vtkMRMLMarkupsROINode"),
        refineBox=add("vtkMRMLMarkupsROINode"),
        result=add("vtkMRMLTextNode"),
    )


def test_a_new_node_holds_the_defaults(a_node: Any) -> None:
    assert readParameters(a_node) == Parameters()


def test_what_is_written_is_read(a_scene: Any, a_node: Any) -> None:
    settings = some_settings(a_scene)
    writeParameters(a_node, settings)
    assert readParameters(a_node) == settings
    writeParameters(a_node, Parameters())
    assert readParameters(a_node) == Parameters()


def test_a_scene_has_one_node_of_the_module(a_scene: Any, a_node: Any) -> None:
    assert parameterNode(a_scene) is a_node
    assert a_scene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode") == 1
    assert a_node.GetHideFromEditors()


@pytest.mark.parametrize(
    ("key", "text", "field", "expected"),
    [
        ("quality", "99999", "quality", 6),
        ("quality", "-3", "quality", 0),
        ("quality", "four", "quality", 3),
        ("quality", "nan", "quality", 3),
        ("minimumUncertainty", "1e9", "minimumUncertainty", 1.0),
        ("view", "sideways", "view", "both"),
        ("pointChange", "all", "pointChange", "any"),
    ],
)
def test_a_useless_value_becomes_the_default_and_a_number_is_clamped(
    a_node: Any, key: str, text: str, field: str, expected: Any
) -> None:
    a_node.SetParameter(key, text)
    assert getattr(readParameters(a_node), field) == expected


def test_a_node_that_is_removed_is_no_longer_referred_to(a_scene: Any, a_node: Any) -> None:
    settings = some_settings(a_scene)
    writeParameters(a_node, settings)
    a_scene.RemoveNode(a_scene.GetNodeByID(settings.inputVolume))
    found = readParameters(a_node)
    assert found.inputVolume == ""
    assert found.result == settings.result


def test_one_change_is_one_event(a_scene: Any, a_node: Any) -> None:
    events: list[str] = []
    tag = a_node.AddObserver("ModifiedEvent", lambda *_: events.append("modified"))
    writeParameters(a_node, some_settings(a_scene))
    a_node.RemoveObserver(tag)
    assert events == ["modified"]


def test_settings_survive_a_saved_scene(a_scene: Any, a_node: Any, tmp_path: Path) -> None:
    settings = some_settings(a_scene)
    writeParameters(a_node, settings)
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    a_scene.Clear(False)
    assert readParameters(parameterNode(a_scene)) == Parameters()
    slicer.util.loadScene(str(path))
    found = readParameters(parameterNode(a_scene))
    assert replace(found, **roles(settings)) == settings
    for role in roles(settings):
        assert bool(getattr(found, role)), role
    assert a_scene.GetNodeByID(found.roi).IsA("vtkMRMLMarkupsROINode")


def roles(settings: Parameters) -> dict[str, Any]:
    """The fields that name nodes."""
    return {name: getattr(settings, name) for name in ("inputVolume", "roi", "refineBox", "result")}


def test_closing_the_scene_restores_the_defaults(a_scene: Any, a_node: Any) -> None:
    writeParameters(a_node, some_settings(a_scene))
    a_scene.Clear(False)
    assert readParameters(parameterNode(a_scene)) == Parameters()


def test_a_scene_of_a_newer_version_is_read_and_what_it_adds_is_kept(
    a_scene: Any, a_node: Any, tmp_path: Path
) -> None:
    newer = str(VERSION + 1)
    for key, text in (("version", newer), ("view", "sideBySide"), ("wipe", "0.3")):
        a_node.SetParameter(key, text)
    a_node.SetParameter("quality", "4")
    path = tmp_path / "newer.mrb"
    slicer.util.saveScene(str(path))
    a_scene.Clear(False)
    slicer.util.loadScene(str(path))
    node = parameterNode(a_scene)
    assert isFromNewerVersion(node)
    settings = readParameters(node)
    assert (settings.quality, settings.view) == (4, "both")
    writeParameters(node, replace(settings, quality=2))
    assert isFromNewerVersion(node)
    assert node.GetParameter("wipe") == "0.3"
