"""``plan``: decisions with reasons in one file with named axes, and a training made of it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from MorseCore.commands.cli import main
from MorseCore.errors import ConfigError
from MorseCore.images.imageio import read_volume
from MorseCore.planning.making import read_wishes, split_wishes
from MorseCore.planning.measures import CaseMeasures, Fingerprint
from MorseCore.planning.names import Matching, PlannedStructure
from MorseCore.planning.planfile import read_plan, run_config, with_overrides
from MorseCore.planning.rules import Draft
from MorseCore.planning.rules import _put_mirroring as put_mirroring
from MorseCore.planning.rules import _target_spacing as target_spacing
from MorseCore.planning.trial import ENOUGH, MOST, TrialCost, budget_of, is_enough
from MorseCore.store.model_folder import read_model
from own_data import body, write_folders, write_one
from train_command import train
from training_runs import REPOSITORY, one_thread

QUICK = (
    "device=cpu", "preparation.window={\"R\": 16, \"A\": 16, \"S\": 16}",
    "network.backbone.channels=[4,8]", "sampler.points=64", "renderer.points=64",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = write_folders(tmp_path_factory.mktemp("own") / "My scans", 5)
    write_one(folder, "case_4", *body(4, ["liver", "left kidney"]))
    return folder


@pytest.fixture(scope="module")
def planned(data: Path, tmp_path_factory) -> Path:
    """A plan that the command wrote, in a process of its own; what it printed lies beside it."""
    folder = tmp_path_factory.mktemp("plan")
    words = ["plan", str(data), "--hours", "0.01", *QUICK, 'unannotated.case_4=["spleen"]']
    done = subprocess.run(
        [sys.executable, "-m", "MorseCore", *words], cwd=folder, timeout=200, check=False,
        capture_output=True, env=one_thread() | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    (folder / "printed.txt").write_bytes(done.stdout)
    return folder / "plan.json"


def test_the_plan_names_axes_structures_and_a_reason_for_each_decision(planned: Path):
    plan = read_plan(planned)
    training = plan.training
    assert training["preparation"]["spacing"] == {"R": 2.5, "A": 2.5, "S": 3.0}
    assert [s.name for s in plan.structures] == ["liver", "left kidney", "spleen"]
    assert plan.structures[2].unannotated == ("case_4",)
    assert training["augmentation"]["mirror_axes"] == []
    assert plan.why["augmentation.mirror_axes"] == (
        "'left kidney' carries a side, and no structure is its partner: a mirrored image would "
        "teach that left is right."
    )
    assert plan.why["preparation.window"] == "As the person said."
    assert all(reason.endswith(".") for reason in plan.why.values())
    assert training["optimisation"]["iterations"] >= 20
    assert plan.trial[0]["seconds a step"] > 0
    assert plan.expected["minutes"]["in all"] > 0
    assert {case.name: case.fold for case in plan.cases}["case_4"] is None


def test_the_terminal_shows_the_same(planned: Path):
    printed = planned.with_name("printed.txt").read_text(encoding="utf-8")
    assert "3 spleen" in printed
    assert "4 of 5, not in case_4" in printed
    assert 'preparation.spacing = {"R": 2.5, "A": 2.5, "S": 3.0}' in printed
    assert "steps are few and will teach little; 4,000 take about" in printed
    assert "written: plan.json" in printed


def test_named_axes_become_the_trainings_order(planned: Path, tmp_path: Path):
    plan = with_overrides(read_plan(planned), [
        "preparation.window.S=32", "augmentation.mirror_axes=[\"R\", \"S\"]",
    ])  # fmt: skip
    config = run_config(plan, tmp_path)
    assert config.preparation.window == (16, 16, 32)
    assert config.augmentation.mirror_axes == (0, 2)  # K is S, I is R


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("preparation.spacing=[1.25, 1.25, 7.7]",
         "'preparation.spacing' is [1.25, 1.25, 7.7], and nobody can see which axis is which: name "
         'them, preparation.spacing=\'{"R": 1.25, "A": 1.25, "S": 7.7}\'.'),
        ("preparation.window.Q=16", "names the axes R, A, S, Q; this plan has R, A, S."),
        ("augmentation.mirror_axes=[0]", "is [0]; it is a list of axes by name, of R, A, S."),
        ("optimisation.iteration=5", "did you mean 'iterations'?"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused_with_the_way_out(
    planned: Path, tmp_path: Path, override: str, expected: str
):
    with pytest.raises(ConfigError) as caught:
        run_config(with_overrides(read_plan(planned), [override]), tmp_path)
    assert expected in str(caught.value)


def test_a_training_by_the_plan_leaves_a_model_whose_blanks_are_blank(
    planned: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert train("optimisation.iterations=4", "validation.every=2", config=str(planned)) == 0
    info = read_model(tmp_path / "runs" / "my-scans" / "model")
    assert info.licence == "not stated"
    assert [s.name for s in info.structures] == ["liver", "left kidney", "spleen"]
    assert info.preparation.spacing == (2.5, 2.5, 3.0)
    entries = json.loads((tmp_path / "runs/my-scans/data/dataset.json").read_text("utf-8"))
    lacking = [e["unannotated"] for e in entries["training"] if "unannotated" in e]
    assert lacking == [["spleen"]]


def test_a_training_on_a_folder_writes_its_plan_beside_the_run(
    data: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = [*QUICK, "optimisation.iterations=2", "validation.every=2", "name=mine"]
    assert train(*words, "--hours", "0.01", config=str(data)) == 0
    plan = read_plan(tmp_path / "runs" / "mine" / "plan.json")
    assert plan.training["optimisation"]["iterations"] == 2
    read_model(tmp_path / "runs" / "mine" / "model")
    # Again: the plan that is there is taken, and the training, which is finished, stays so.
    written = plan
    assert train(*words, config=str(data)) == 0
    assert read_plan(tmp_path / "runs" / "mine" / "plan.json").trial == written.trial


def test_a_run_of_other_data_is_not_gone_on_with(
    data: Path, planned: Path, tmp_path: Path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    other = write_folders(tmp_path / "other" / "My scans", 3)
    (tmp_path / "runs" / "my-scans").mkdir(parents=True)
    (tmp_path / "runs/my-scans/plan.json").write_bytes(planned.read_bytes())
    assert main(["train", str(other)]) == 2
    assert "name=ANOTHER gives this one a folder of its own" in capsys.readouterr().err


def test_hours_are_for_data_that_are_to_be_planned(planned: Path, capsys):
    assert main(["train", str(planned), "--hours", "2"]) == 2
    assert "'--hours' is for data that are to be planned" in capsys.readouterr().err


def test_labels_that_need_no_change_stay_where_they_are(planned: Path, tmp_path: Path):
    from MorseCore.planning.planfile import prepare_data

    plan = read_plan(planned)
    prepare_data(plan, tmp_path)
    entries = json.loads((tmp_path / "dataset.json").read_text("utf-8"))["training"]
    assert {Path(e["label"]).parent.name for e in entries} == {"labels"}
    assert not list((tmp_path / "labels").iterdir())
    assert read_volume(Path(entries[0]["label"])).array.max() == 3


def scans(*spacings: tuple[float, float, float], size=(200, 200, 30)) -> Fingerprint:
    cases = [
        CaseMeasures(f"c{n}", size, mm, 2, False, False, "", (0.0, 1.0), {})
        for n, mm in enumerate(spacings)
    ]
    return Fingerprint(tuple(cases), "MR")


def mirroring(*names: str, axes: str = "RAS", pictures: bool = False) -> tuple[dict, str]:
    draft = Draft(tuple(axes))
    found = scans((1, 1, 1))
    cases = tuple(replace(case, is_picture=pictures) for case in found.cases)
    structures = tuple(PlannedStructure(n, name) for n, name in enumerate(names, start=1))
    put_mirroring(draft, replace(found, cases=cases), Matching(structures, {}, ()))
    return draft.training["augmentation"], draft.why["augmentation.mirror_axes"]


def test_left_and_right_are_mirrored_with_their_labels_swapped():
    found, why = mirroring("Kidney_L", "liver", "rightKidney", "lung, right", "lung, left")
    assert found["mirror_axes"] == ["R"]
    assert found["mirror_pairs"] == [["Kidney_L", "rightKidney"], ["lung, left", "lung, right"]]
    assert why == (
        "In a mirrored image 'Kidney_L' and 'rightKidney' (and 1 more pair) change places, and so "
        "do their labels: it is one more patient."
    )


@pytest.mark.parametrize(
    ("names", "options", "expected"),
    [
        (("left kidney", "right kidney", "left lung"), {}, "'left lung' carries a side, and no"),
        (("left kidney", "right kidney"), {"axes": "AS"}, "No axis of these slices runs from"),
        (("liver",), {"axes": "AS"}, "No axis of these slices runs from left to right."),
        (("left lung", "right lung"), {"axes": "xy", "pictures": True}, "pictures do not say"),
    ],
)
def test_where_nobody_knows_what_the_mirror_shows_there_is_none(names, options, expected):
    found, why = mirroring(*names, **options)
    assert found == {"mirror_axes": []}
    assert expected in why


def test_the_spacing_is_the_median_and_of_a_coarse_axis_the_tenth_percentile():
    found, _ = target_spacing(scans((1, 1, 1.5), (2, 2, 1.5), (4, 4, 1.5)))
    assert found.tolist() == [2, 2, 1.5]
    coarse = [(1.0, 1.0, mm) for mm in np.linspace(3, 8, 11)]
    found, why = target_spacing(scans(*coarse))
    assert found.tolist() == [1, 1, 3.5]
    assert "10th percentile" in why


def test_the_hours_decide_the_steps():
    quick = TrialCost("narrow", seconds=0.5, validated=2.0, read=1.0, memory=0)
    assert is_enough(quick, hours=1)
    assert not is_enough(quick, hours=0.5)
    budget = budget_of(quick, hours=1, cases=10, validated=5)
    assert budget.iterations == int((3600 * 0.95 - 10 - 60 - 180) / 0.5)
    assert budget.minutes["verdict"] == 3
    assert budget_of(quick, hours=1, cases=10, validated=3).minutes["verdict"] == 0
    assert sum(budget.minutes.values()) == pytest.approx(57, abs=1)
    assert ENOUGH < budget.iterations < MOST
    assert budget_of(quick, hours=100, cases=10, validated=5).iterations == MOST


def test_what_is_said_of_the_data_is_told_from_the_training():
    asked, rest = split_wishes(["names.label 1.x=liver", "optimisation.iterations=3"])
    assert read_wishes(asked).names == {"label 1.x": "liver"}
    assert rest == ["optimisation.iterations=3"]
