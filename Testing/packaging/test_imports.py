"""What is imported at start: nothing that Slicer lacks. (`lint-imports` checks the rest.)"""

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
# What MorseSegment may take from the library at start: it needs numpy at most.
LIGHT = {
    "config", "errors", "geometry", "images.modelgrid", "images.workload", "result",
    "service.exchange", "service.failures", "service.protocol", "service.supervisor",
    "system.files", "system.processes", "system.signals", "system.steps",
}  # fmt: skip


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


def short(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


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
