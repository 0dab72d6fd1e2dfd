"""Rows of the papers' tables: as overrides in the documentation, and as files of rows."""

import re
from pathlib import Path

import pytest
import torch

from MorseCore.config import apply_overrides, decode, read_json
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
