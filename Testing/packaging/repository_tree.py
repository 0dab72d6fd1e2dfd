"""Where things are in the repository, and a reader for the little CMake that it uses."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

_KEYWORDS = {"NAME", "SCRIPTS", "RESOURCES", "WITH_GENERIC_TESTS", "WITH_SUBDIR"}


def source_files(folder: Path) -> set[str]:
    """Files under a folder that belong to the source, relative to it, with forward slashes."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and not path.name.startswith(".")
        and path.name != "CMakeLists.txt"
    }


def module_lists(folder: Path) -> dict[str, list[str]]:
    """The words after each keyword of ``slicerMacroBuildScriptedModule`` in a CMakeLists.txt."""
    text = re.sub(r"#.*", "", (folder / "CMakeLists.txt").read_text(encoding="utf-8"))
    call = re.search(r"slicerMacroBuildScriptedModule\(([^)]*)\)", text)
    if call is None:
        raise ValueError(f"{folder.name}/CMakeLists.txt builds no scripted module.")
    lists: dict[str, list[str]] = {}
    for word in call.group(1).split():
        if word in _KEYWORDS:
            current = lists.setdefault(word, [])
        else:
            current.append(word)
    return lists


def cmake_settings() -> dict[str, str]:
    """The ``set(EXTENSION_… "…")`` of the top CMakeLists.txt, and ``project`` as PROJECT."""
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    settings = dict(re.findall(r'^set\((EXTENSION_\w+) "([^"\n]*)"\)$', text, re.MULTILINE))
    project = re.search(r"^project\((\w+)", text, re.MULTILINE)
    return {**settings, "PROJECT": project.group(1) if project else ""}
