"""Who may import what: the library no Slicer, the module nothing that Slicer lacks at start."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository_tree import REPOSITORY

SLICER = {"slicer", "qt", "ctk", "vtk", "vtkmodules"}
PICTURES = "MorseSegmentPictures"  # stands in for the application, which never loads it
MODULE_FILES = sorted(
    path for path in (REPOSITORY / "MorseSegment").rglob("*.py") if PICTURES not in path.parts
)
LIBRARY_FILES = sorted((REPOSITORY / "MorseCore").rglob("*.py"))
# What MorseSegment may take from the library at start: it needs numpy at most.
LIGHT = {
    "config", "errors", "geometry", "images.modelgrid", "images.workload", "result",
    "service.exchange", "service.failures", "service.protocol", "system.files", "system.signals",
    "system.steps",
}  # fmt: skip
# Everything else in MorseSegmentLib runs without widgets: in a script, in a test.
WIDGETS = {"panels", "worker.qprocess", "worker.modelimport"}


def imported_names(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Dotted names of the modules that import statements name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def at_file_scope(path: Path) -> set[str]:
    """Modules imported as soon as the file is, also within if and try."""

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            yield child
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                yield from walk(child)

    return set(imported_names(walk(ast.parse(path.read_text(encoding="utf-8")))))


def everywhere(path: Path) -> set[str]:
    """Modules imported anywhere in the file."""
    return set(imported_names(ast.walk(ast.parse(path.read_text(encoding="utf-8")))))


def short(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("path", LIBRARY_FILES, ids=short)
def test_the_library_knows_nothing_of_slicer(path: Path) -> None:
    tops = {name.split(".")[0] for name in everywhere(path)}
    assert not tops & (SLICER | {"MorseSegmentLib", "MorseSegment"})


@pytest.mark.parametrize("path", MODULE_FILES, ids=short)
def test_the_module_loads_with_what_slicer_ships(path: Path) -> None:
    tops = {name.split(".")[0] for name in at_file_scope(path)}
    allowed = SLICER | {"numpy", "MorseCore", "MorseSegmentLib"} | sys.stdlib_module_names
    assert tops <= allowed


@pytest.mark.parametrize("path", MODULE_FILES, ids=short)
def test_starting_slicer_loads_only_the_light_part_of_the_library(path: Path) -> None:
    for name in at_file_scope(path):
        if name.startswith("MorseCore."):
            assert name.removeprefix("MorseCore.") in LIGHT, name


@pytest.mark.parametrize("name", sorted(LIGHT))
def test_the_light_part_of_the_library_is_light(name: str) -> None:
    path = REPOSITORY.joinpath("MorseCore", *name.split(".")).with_suffix(".py")
    tops = {name.split(".")[0] for name in at_file_scope(path)}
    assert tops <= {"numpy", "MorseCore"} | sys.stdlib_module_names


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted((REPOSITORY / "MorseSegment" / "MorseSegmentLib").rglob("*.py"))
        if not WIDGETS & {path.parent.name, f"{path.parent.name}.{path.stem}"}
    ],
    ids=short,
)
def test_what_is_no_panel_needs_no_widgets(path: Path) -> None:
    tops = {name.split(".")[0] for name in everywhere(path)}
    assert not tops & {"qt", "ctk"}
    own = {name.removeprefix("MorseSegmentLib.") for name in everywhere(path)}
    assert not own & WIDGETS
    assert not any(name.startswith("panels.") for name in own)
