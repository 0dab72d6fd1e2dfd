"""What the documentation tells a reader to write is understood."""

import ast
import importlib
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from MorseCore.backbones import BACKBONES
from MorseCore.commands.method_list import list_methods
from MorseCore.config import decode, read_json
from MorseCore.errors import ConfigError
from MorseCore.network import NetworkConfig
from MorseCore.renderers import RENDERERS
from MorseCore.samplers import SAMPLERS
from MorseCore.service.protocol import REQUESTS
from MorseCore.store.model_folder import ModelInfo
from MorseCore.system.acceptance import ACCEPTABLE
from MorseCore.training.config import RunConfig

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "Documentation"
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
    text = (FOLDER / "components.md").read_text(encoding="utf-8")
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


def test_every_page_is_in_the_table_of_contents():
    index = (FOLDER / "index.md").read_text(encoding="utf-8")
    listed = [
        line
        for block in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL)
        for line in block.splitlines()
        if line and not line.startswith(":")
    ]
    pages = {page.stem for page in FOLDER.glob("*.md")} - {"index"}
    assert sorted(listed) == sorted(pages)
    for page in pages:
        assert f"]({page}.md)" in index, f"the tables of index.md lack {page}.md"


@pytest.mark.parametrize(
    "page",
    [
        *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
        *sorted(FOLDER.glob("*.md")),
    ],
    ids=lambda page: page.stem,
)
def test_files_that_a_page_links_to_exist(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_readme_holds_its_two_commands_and_an_example_of_five_lines():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for marker in ("<!-- demo command -->\n```bash\n", "<!-- test command -->\n```bash\n"):
        assert text.count(marker) == 1
    example = re.search(r"<!-- python example -->\n```python\n(.*?)```", text, re.DOTALL)
    assert example is not None
    assert isinstance(ast.parse(example.group(1)).body[0], ast.ImportFrom)
    assert len(example.group(1).splitlines()) <= 5


def test_the_page_on_the_protocol_has_every_request_and_key():
    text = (FOLDER / "protocol.md").read_text(encoding="utf-8")
    for name, request in REQUESTS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        for item in fields(request):
            assert item.name == "id" or f"`{item.name}`" in row, (name, item.name)


def test_the_page_on_model_folders_has_every_key():
    text = (FOLDER / "model-folder.md").read_text(encoding="utf-8")
    for item in fields(ModelInfo):
        assert f"| `{item.name}` |" in text, item.name


def test_files_that_the_page_on_the_house_names_exist():
    text = (FOLDER / "house.md").read_text(encoding="utf-8")
    roots = [REPOSITORY / name for name in ("", "MorseCore", "MorseSegment", "Training")]
    roots += [REPOSITORY / "MorseCore" / "heads", REPOSITORY / "MorseSegment" / "MorseSegmentLib"]
    named = re.findall(r"`([\w/]+(?:\.py|/))`", text)
    assert named
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []


def test_every_refusal_that_can_be_overruled_is_documented() -> None:
    text = (FOLDER / "refusals.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)) == set(ACCEPTABLE)
