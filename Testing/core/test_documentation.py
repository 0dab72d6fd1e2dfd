"""What the documentation tells a reader to write is understood."""

import importlib
import json
import re
from pathlib import Path

import pytest

from MorseCore.commands.methods import list_methods
from MorseCore.config import decode
from MorseCore.network import NetworkConfig
from MorseCore.renderers import RENDERERS
from MorseCore.samplers import SAMPLERS

FOLDER = Path(__file__).resolve().parents[2] / "Documentation"
FENCE = re.compile(r"```json\n(.*?)```", re.DOTALL)


def snippets() -> list:
    return [
        pytest.param(text, id=f"{page.stem}-{n}")
        for page in sorted(FOLDER.glob("*.md"))
        for n, text in enumerate(FENCE.findall(page.read_text(encoding="utf-8")))
    ]


@pytest.mark.parametrize("text", snippets())
def test_a_configuration_in_the_documentation_can_be_read(text):
    data = json.loads(text)
    if {"head", "backbone"} & data.keys():
        assert isinstance(decode(NetworkConfig, data, ""), NetworkConfig)
    for key, registry in (("sampler", SAMPLERS), ("renderer", RENDERERS)):
        if key in data:
            assert registry.name_of(registry.decode(data[key], key)) == data[key]["name"]


def test_there_are_pages_to_test():
    assert len(snippets()) > 0


def components() -> list[str]:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    table = text.split("| component |")[1]
    cells = [line.split("|")[3] for line in table.splitlines() if line.startswith("| ")]
    return [name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)]


@pytest.mark.parametrize("name", components())
def test_what_the_table_of_components_names_is_there(name):
    module, *attributes = f"MorseCore.{name}".rsplit(".", 1)
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:  # a method of a class
        module, owner = module.rsplit(".", 1)
        found = getattr(importlib.import_module(module), owner)
    assert (getattr(found, attributes[0]).__doc__ or "").strip()


def test_every_head_backbone_sampler_and_renderer_has_its_paper():
    assert [m.name for m in list_methods() if m.paper == "not stated"] == []
