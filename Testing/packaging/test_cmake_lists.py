"""A file missing in a CMake list builds cleanly and fails in Slicer at import: so compare."""

import pytest
from repository_tree import REPOSITORY, module_lists, source_files

NOT_INSTALLED = "MorseSegmentPictures/"  # stands in for the application


@pytest.mark.parametrize("name", ["MorseCore", "MorseSegment"])
def test_the_lists_name_every_file_of_the_tree_and_no_other(name: str) -> None:
    folder = REPOSITORY / name
    lists = module_lists(folder)
    files = {path for path in source_files(folder) if not path.startswith(NOT_INSTALLED)}
    scripts = sorted(path for path in files if path.endswith(".py"))
    resources = sorted(path for path in files if not path.endswith(".py"))
    assert lists["SCRIPTS"] == scripts, "SCRIPTS should be:\n" + "\n".join(scripts)
    assert lists["RESOURCES"] == resources, "RESOURCES should be:\n" + "\n".join(resources)


def test_morsecore_is_installed_as_a_package_and_no_module() -> None:
    lists = module_lists(REPOSITORY / "MorseCore")
    assert "WITH_SUBDIR" in lists
    assert "WITH_GENERIC_TESTS" not in lists


def test_no_folder_is_installed_that_another_extension_has_too() -> None:
    # Several extensions install a package "Testing"; the first on the path hides the others.
    for name in ("MorseCore", "MorseSegment"):
        for path in module_lists(REPOSITORY / name)["SCRIPTS"]:
            assert path.split("/")[0] not in {"Testing", "Training", "tests", "utils", "lib"}
