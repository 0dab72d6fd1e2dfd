"""What the documentation tells a reader to write is understood."""

import importlib
import json
import re
from pathlib import Path

import pytest
import torch

from MorseCore.backbones import BACKBONES
from MorseCore.commands.methods import list_methods
from MorseCore.config import decode, read_json
from MorseCore.errors import ConfigError
from MorseCore.network import NetworkConfig
from MorseCore.renderers import RENDERERS
from MorseCore.samplers import SAMPLERS
from MorseCore.training.config import RunConfig

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


def colour_snippets() -> list:
    return [
        pytest.param(before, json.loads(text), id=f"{page.stem}-{n}")
        for page in sorted(FOLDER.glob("*.md"))
        for n, (before, text) in enumerate(
            re.findall(r"((?:[^\n]+\n)+)\n```json\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        )
        if json.loads(text).get("in_channels", 1) != 1
    ]


@pytest.mark.parametrize(("before", "data"), colour_snippets())
def test_a_model_in_colour_says_that_it_is_for_python_and_how_large_it_is(before, data):
    text = " ".join(before.split())
    assert re.search(r"from Python", text)
    assert "grey" in text or "colour from Python only" in text
    millions = float(re.search(r"([0-9.]+) M parameters", text).group(1))  # type: ignore[union-attr]
    with torch.device("meta"):
        network = decode(NetworkConfig, data, "").build(num_classes=1)  # the papers' one logit
    count = sum(p.numel() for p in network.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.006)
    run = read_json(FOLDER.parent / "Training" / "configs" / "phantom-tiny-2d.json")
    with pytest.raises(ConfigError, match=r"'network\.in_channels' must be 1"):
        decode(RunConfig, run | {"network": data}, "")
    decode(RunConfig, run | {"network": data | {"in_channels": 1}}, "")


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_has_a_section_with_a_configuration(name):
    sections = (FOLDER / "backbones.md").read_text(encoding="utf-8").split("\n## ")
    section = next(text for text in sections if text.startswith(f"{name}\n"))
    configured = [json.loads(text)["backbone"]["name"] for text in FENCE.findall(section)]
    assert configured == [name]


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
