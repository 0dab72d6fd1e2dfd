"""Rows of the tables of I²Net and SwIPE and of the studies: what they are called after."""

import math
from itertools import pairwise

import pytest
import torch

from MorseCore.config import decode, read_json
from MorseCore.heads.swipe.head import SwipeConfig
from MorseCore.training.config import RunConfig
from Training.research.study.definition import read_table, row_config


def configs(name: str) -> dict[str, RunConfig]:
    table, base = read_table(name)
    data = read_json(base)
    return {row.name: row_config(data, table, row, quick=False, overrides=[]) for row in table.rows}


def test_the_rows_of_i2nets_ablation_have_the_losses_they_are_called_after() -> None:
    def losses(config: RunConfig) -> tuple[bool, bool, bool]:
        head = config.network.head
        if not hasattr(head, "shaping_weight"):
            return False, False, False
        shaping = head.shaping_weight > 0
        return shaping and head.sharpen > 0, shaping and head.balance > 0, (
            head.orthogonal_weight > 0
        )  # fmt: skip

    assert {name: losses(config) for name, config in configs("i2net-table3").items()} == {
        "static INR (IFA)": (False, False, False),
        "vanilla I²Net": (False, False, False),
        "+ L_gis": (True, False, False),
        "+ L_ges": (False, True, False),
        "+ L_gis + L_ges": (True, True, False),
        "+ L_lo": (False, False, True),
        "+ L_gis + L_ges + L_lo": (True, True, True),
    }


def test_swipes_ablation_adds_one_component_a_row_and_ends_with_the_whole() -> None:
    heads = [config.network.head for config in configs("swipe-table2").values()]
    names = SwipeConfig.__dataclass_fields__
    added = [
        [name for name in names if getattr(a, name) != getattr(b, name)] for a, b in pairwise(heads)
    ]
    assert added == [
        ["rfb"], ["cascade"], ["mea"], ["image_decoder"], ["image_in_patch"],
        ["source_coordinate"], ["spo_copies"],
    ]  # fmt: skip
    assert heads[-1] == decode(SwipeConfig, {}, "")


@pytest.mark.parametrize(
    ("table", "row", "classes", "millions"),
    [
        ("i2net-table1", "U-Net", 9, 17.26),
        ("i2net-table1", "ResNet-18 + I²Net K=3", 2, 11.40),
        ("i2net-table1", "ResNet-18 + I²Net K=4", 2, 11.44),
        ("swipe-table1", "SwIPE", 2, 2.7),
    ],
)
def test_rows_have_the_published_number_of_parameters(
    table: str, row: str, classes: int, millions: float
) -> None:
    with torch.device("meta"):
        network = configs(table)[row].network.build(num_classes=classes)
    count = sum(p.numel() for p in network.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.015)  # one input channel here, three on GlaS


def test_annotation_amounts_differ_in_the_share_alone() -> None:
    found = configs("annotation-amount")
    for method in ("U-Net", "U-Net + MORSE", "SwIPE"):
        rows = [found[f"{method}, {share}"] for share in ("10 %", "25 %", "50 %", "100 %")]
        assert [row.data.share for row in rows] == [0.1, 0.25, 0.5, 1.0]
        assert len({(row.network, row.optimisation, row.sampler, row.seed) for row in rows}) == 1


def shapes_of(config: RunConfig) -> list[torch.Size]:
    with torch.device("meta"):
        return [p.shape for p in config.network.build(num_classes=2).parameters()]


def test_model_sizes_differ_in_widths_alone() -> None:
    found, usual = configs("model-size"), configs("annotation-amount")
    for method in ("U-Net", "U-Net + MORSE", "SwIPE"):
        rows = [found[f"{method}, {size}"] for size in ("half", "full", "double")]
        assert len({(row.optimisation, row.sampler, row.renderer, row.data) for row in rows}) == 1
        half, full, double = (shapes_of(row) for row in rows)
        assert full == shapes_of(usual[f"{method}, 100 %"])
        for a, b in pairwise((half, full, double)):
            assert [len(shape) for shape in a] == [len(shape) for shape in b]  # the same layers
            few, many = (sum(map(math.prod, shapes)) for shapes in (a, b))
            assert 3.5 < many / few < 4.1  # a convolution twice as wide has four times the weights
