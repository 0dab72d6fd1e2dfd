"""Everything a configuration can name is listed with its paper and a class that exists."""

import importlib
import json
import subprocess
import sys

from MorseCore.backbones import BACKBONES
from MorseCore.backbones.pyramid import PyramidSpec
from MorseCore.commands.cli import main
from MorseCore.commands.method_list import list_methods
from MorseCore.heads import HEADS
from MorseCore.renderers import RENDERERS
from MorseCore.samplers import SAMPLERS


def test_every_registered_name_is_listed_once():
    listed = [(m.kind, m.name) for m in list_methods()]
    expected = {
        (registry.kind, name)
        for registry in (BACKBONES, HEADS, SAMPLERS, RENDERERS)
        for name in registry
    }
    assert expected <= set(listed)
    assert ("schedule", "awa") in listed
    for part in ("image_expert", "expert_pyramid", "latin_hypercube"):
        assert ("component", part) in listed
    assert len(listed) == len(set(listed))


def test_every_loss_that_a_head_can_have_is_listed():
    spec = PyramidSpec(2, channels=(32, 16, 8), strides=(4, 2, 1), divisor=4)
    named = set()
    for name in HEADS:
        named |= set(HEADS.decode({"name": name}, "").build(spec, num_classes=3).loss_weights)
    assert named <= {m.name for m in list_methods() if m.kind == "loss"}


def test_every_method_names_its_paper_and_a_class_that_exists():
    for method in list_methods():
        module, _, name = method.where.rpartition(".")
        assert hasattr(importlib.import_module(module), name)
        assert method.paper
        assert len(method.summary) > 10


def test_the_list_can_be_read_by_a_machine(capsys):
    assert main(["methods", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert {"kind", "name", "paper", "where", "summary"} == set(entries[0])


def test_importing_the_package_and_asking_for_help_needs_no_torch():
    code = (
        "import sys, MorseCore, MorseCore.result, MorseCore.geometry, MorseCore.commands.cli; "
        "assert not {'torch', 'monai', 'SimpleITK'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
