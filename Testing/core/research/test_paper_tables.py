"""Rows of the papers' tables and of the studies: what they are called after, and how they train."""

import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from MorseCore.config import apply_overrides, decode, read_json
from MorseCore.heads.swipe.head import SwipeConfig
from MorseCore.training.config import OptimisationConfig, RunConfig
from Training.research.study.definition import read_table, row_config

ROOT = Path(__file__).resolve().parents[3]
NETWORK = {
    "spatial_dims": 2,
    "backbone": {"name": "unet"},
    "head": {"name": "morse", "preset": "paper"},
}


def table_rows() -> dict[str, list[str]]:
    """Overrides by the name of the row."""
    page = (ROOT / "Documentation" / "morse.md").read_text(encoding="utf-8")
    tables = page.split("## The paper's tables")[1]
    rows = re.findall(r"^\| ([^|]+) \| (`.*`) \|$", tables, flags=re.MULTILINE)
    return {name: re.findall(r"`([^`]+)`", overrides) for name, overrides in rows}


def run_config(overrides: list[str]) -> RunConfig:
    data = read_json(ROOT / "Training" / "configs" / "phantom-tiny-2d.json")
    return decode(RunConfig, apply_overrides(data | {"network": NETWORK}, overrides), "")


@pytest.mark.parametrize("name", table_rows())
def test_a_row_can_be_configured_and_its_network_built(name):
    config = run_config(table_rows()[name])
    with torch.device("meta"):
        network = config.network.build(num_classes=9)
    assert network.head.loss_weights["sup"] == 1.0


def test_the_rows_are_those_of_the_paper():
    rows = {name: run_config(overrides) for name, overrides in table_rows().items()}
    heads = [type(config.network.head).__name__ for config in rows.values()][:8]
    assert heads == [
        "PlainConfig", "PointRendConfig", "ImplicitPointRendConfig", "MoeConfig", "SmoeConfig",
        "IarConfig", "IarMoeConfig", "MorseConfig",
    ]  # fmt: skip
    numbers = [rows[row].network.head.experts for row in rows if row.startswith("N = ")]
    assert numbers == [1, 2, 3, 4, 5]
    rates = ("0.1", "0.2", "0.5", "0.7", "0.9")
    assert [rows[rate].network.head.drop_rate for rate in rates] == [float(rate) for rate in rates]
    schedules = [config.optimisation.schedule for config in rows.values()][18:21]
    assert schedules == ["from_scratch", "constant_from_half", "awa"]
    point_rend = rows["+ PointRend"].optimisation
    assert (point_rend.schedule, point_rend.render_weight) == ("from_scratch", 1.0)
    assert rows["+ Implicit PointRend"].sampler.importance == 0
    optimisers = [rows[f"optimiser, {dims}"].optimisation for dims in ("2D", "3D")]
    assert [o.optimizer for o in optimisers] == ["sgd", "sgd"]
    assert [o.nesterov for o in optimisers] == [False, True]


def configs(name: str, *, quick: bool = False) -> dict[str, RunConfig]:
    """The runs of a file of rows, by the name of the row; of a quick run all rows too."""
    table, base = read_table(name)
    data = read_json(base)
    return {r.name: row_config(data, table, r, quick=quick, overrides=[]) for r in table.rows}


@pytest.mark.parametrize(
    ("table", "backbones"),
    [("morse-table1", ("UNet", "TransUNet")), ("morse-table2", ("3D-UNet", "UNETR"))],
)
def test_tables_1_and_2_have_all_eight_methods_on_both_backbones(table, backbones):
    runs = configs(table)
    added = ("PointRend", "Implicit PointRend", "MoE", "SMoE", "IAR", "IAR + MoE")
    for name in backbones:
        rows = [name, *(f"{name} + {method}" for method in added), f"{name} MORSE"]
        heads = [type(runs[row].network.head).__name__ for row in rows]
        assert heads == [
            "PlainConfig", "PointRendConfig", "ImplicitPointRendConfig", "MoeConfig", "SmoeConfig",
            "IarConfig", "IarMoeConfig", "MorseConfig",
        ]  # fmt: skip
        sampler = runs[f"{name} + Implicit PointRend"].sampler
        assert (sampler.points, sampler.importance, sampler.oversample) == (2048, 0, 1)


def test_a_quick_row_keeps_its_backbone():
    long, quick = configs("morse-table2"), configs("morse-table2", quick=True)
    kinds = {row: type(run.network.backbone) for row, run in long.items()}
    assert {row: type(run.network.backbone) for row, run in quick.items()} == kinds


@pytest.mark.parametrize(
    "name", ["swipe-table1", "swipe-table1-3d", "swipe-table2", "swipe-table3"]
)
def test_swipes_rows_overlap_windows_as_the_paper_and_fill_crops_in_3d(name):
    for run in configs(name).values():
        assert run.windows.overlap == 0.75
        if name.endswith("3d"):
            assert run.data.foreground == 0.75
    assert {run.windows.overlap for run in configs(name, quick=True).values()} == {0.25}


def recipe(options: OptimisationConfig) -> tuple[str, float, int]:
    return options.optimizer, options.learning_rate, options.batch_size


@pytest.mark.parametrize("name", ["i2net-table1", "i2net-table2", "i2net-table3"])
def test_i2nets_rows_are_trained_as_the_paper_trains_on_their_data(name):
    groups = {row.name: row.group for row in read_table(name)[0].rows}
    for row, run in configs(name).items():
        options = run.optimisation
        if "GlaS" in groups[row]:  # ConTrans
            assert recipe(options) == ("adam", 1e-3, 16)
            assert options.weight_decay == 0, "Adam's decay acts through the gradient"
        else:  # TransUNet, on Synapse
            assert recipe(options) == ("sgd", 0.01, 24)
            assert (options.momentum, options.nesterov, options.weight_decay) == (0.9, False, 1e-4)
    quick = {recipe(run.optimisation) for run in configs(name, quick=True).values()}
    assert quick == {("adamw", 2e-3, 4)}


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
    assert heads[-1] == decode(SwipeConfig, {"patch_stride": 32}, "")


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
