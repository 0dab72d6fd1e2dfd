"""CMakeLists.txt, MorseSegment.json and MorseSegment.s4ext describe one extension."""

import json
import re
from typing import Any

import pytest
from repository_tree import REPOSITORY, cmake_settings


@pytest.fixture
def a_catalog_entry() -> dict[str, Any]:
    return json.loads((REPOSITORY / "MorseSegment.json").read_text(encoding="utf-8"))


@pytest.fixture
def a_description() -> dict[str, str]:
    lines = (REPOSITORY / "MorseSegment.s4ext").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return {key: value for key, _, value in pairs}


def test_the_project_is_named_as_its_files() -> None:
    assert cmake_settings()["PROJECT"] == "MorseSegment"
    assert (REPOSITORY / "MorseSegment" / "MorseSegment.py").is_file()


def test_the_catalog_entry_has_only_keys_of_its_schema(a_catalog_entry: dict[str, Any]) -> None:
    known = {
        "$schema",
        "build_dependencies",
        "build_subdirectory",
        "category",
        "scm_revision",
        "scm_url",
        "tier",
    }
    assert set(a_catalog_entry) == known
    assert a_catalog_entry["$schema"].endswith("catalog-entry-schema-v1.0.1.json#")


def test_the_description_says_what_cmake_says(a_description: dict[str, str]) -> None:
    settings = cmake_settings()
    for key, setting in (
        ("homepage", "EXTENSION_HOMEPAGE"),
        ("category", "EXTENSION_CATEGORY"),
        ("contributors", "EXTENSION_CONTRIBUTORS"),
        ("description", "EXTENSION_DESCRIPTION"),
        ("iconurl", "EXTENSION_ICONURL"),
        ("screenshoturls", "EXTENSION_SCREENSHOTURLS"),
        ("depends", "EXTENSION_DEPENDS"),
    ):
        assert a_description[key] == settings[setting], key


def test_the_description_says_what_the_catalog_entry_says(
    a_description: dict[str, str], a_catalog_entry: dict[str, Any]
) -> None:
    assert a_description["scmurl"] == a_catalog_entry["scm_url"]
    assert a_description["scmrevision"] == a_catalog_entry["scm_revision"]
    assert a_description["category"] == a_catalog_entry["category"]
    assert a_description["build_subdirectory"] == a_catalog_entry["build_subdirectory"]
    assert a_description["depends"].split() == a_catalog_entry["build_dependencies"]
    assert int(a_description["tier"]) == a_catalog_entry["tier"]


def test_addresses_can_be_read_by_the_index() -> None:
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    for name in ("EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"):
        assert re.search(rf'^set\({name} "https://[^"\s]+"\)$', text, re.MULTILINE), name


def test_the_repository_is_named_as_the_index_asks(a_catalog_entry: dict[str, Any]) -> None:
    assert a_catalog_entry["scm_url"].rsplit("/", 1)[1] == "SlicerMorseSegment"


def test_the_icon_is_a_png_of_128_pixels() -> None:
    icon = (REPOSITORY / "MorseSegment" / "Resources" / "Icons" / "MorseSegment.png").read_bytes()
    assert icon.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(icon[start : start + 4], "big") for start in (16, 20))
    assert (width, height) == (128, 128)
