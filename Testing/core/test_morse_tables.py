"""Every row of MORSE's tables is reached by the overrides that the documentation gives for it."""

import re
from pathlib import Path

import pytest
import torch

from MorseCore.config import apply_overrides, decode, read_json
from MorseCore.learning.training_config import RunConfig

ROOT = Path(__file__).resolve().parents[2]
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
