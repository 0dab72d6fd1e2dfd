"""``--any-contrast``: images generated from label maps, beside the scans or instead of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from MorseCore.commands.cli import main
from MorseCore.images.imageio import write_labels, write_volume
from MorseCore.planning.layouts import find_cases
from MorseCore.planning.measures import CaseMeasures, Fingerprint
from MorseCore.planning.planfile import read_plan
from MorseCore.planning.rules import Draft
from MorseCore.planning.rules import _candidates as candidates
from MorseCore.planning.rules import _dimensions as dimensions
from MorseCore.store.model_folder import read_card, read_model
from own_data import SHAPE, body, geometry, write_folders, write_names
from train_command import train
from training_runs import records

QUICK = (
    "device=cpu", "preparation.window={\"R\": 16, \"A\": 16, \"S\": 16}",
    "network.backbone.channels=[4,8]", "sampler.points=64", "renderer.points=64",
    "generation.validation_images=2",
)  # fmt: skip
FEW = ("optimisation.iterations=4", "validation.every=2")


@pytest.fixture
def scans(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_folders(tmp_path / "mine", 5)


@pytest.fixture
def labels(scans: Path) -> Path:
    """Label maps whose images nobody has."""
    shutil.rmtree(scans / "images")
    return scans


def planned(data: Path, *words: str) -> dict:
    assert main(["plan", str(data), "--any-contrast", "--hours", "0.01", *QUICK, *words]) == 0
    return json.loads(Path("plan.json").read_text(encoding="utf-8"))


def test_label_maps_alone_become_a_plan_with_its_reasons(labels: Path, capsys):
    write_labels(labels / "labels" / "empty.nii.gz", np.zeros(SHAPE, np.uint8), geometry())
    plan = planned(labels)
    assert plan["notes"] == ["Left out, since nothing is drawn in them: empty."]
    assert len(plan["cases"]) == 5
    training, why = plan["training"], plan["why"]
    assert training["data"] == {"source": "generated", "fold": 0}
    assert plan["layout"] == "label maps alone"
    assert why["data.source"] == "There are label maps alone: every image is generated from one."
    assert training["preparation"]["normalisation"] == "percentile"
    assert training["card"]["modality"] == "any"
    assert "foreground intensity" not in plan["fingerprint"]
    # A quarter of the planned window of 48, 50 and 60 mm along S, A, R.
    assert training["generation"]["ranges"]["translation"] == [12.0, 12.5, 15.0]
    assert training["generation"]["ranges"]["mirror"] == 0
    assert "'left kidney' carries a side" in why["generation.ranges.mirror"]
    assert not any(key in training["augmentation"] for key in ("scale", "bias_probability"))
    assert "Validated" in why["validation.every"]
    assert "generated images, and once more for the card" in why["validation.every"]
    assert 'data.source = "generated"' in capsys.readouterr().out


def test_a_plan_of_label_maps_alone_becomes_a_model_that_saw_no_image(labels: Path):
    planned(labels)
    assert train(*FEW, config="plan.json") == 0
    run = Path("runs") / "mine"
    info = read_model(run / "model")
    assert [s.name for s in info.structures] == ["liver", "left kidney", "spleen"]
    assert info.training["splits"] == {"train": 4, "val": 1, "test": 0}
    assert "No image was used" in read_card(run / "model")
    assert [r["step"] for r in records(run) if "validation" in r] == [2, 4]
    assert (run / "worst.png").is_file()


def test_scans_are_mixed_with_images_generated_from_their_labels(scans: Path):
    words = ("--any-contrast", "--hours", "0.01")
    assert train(*QUICK, *FEW, *words, config=str(scans)) == 0
    run = Path("runs") / "mine"
    plan = read_plan(run / "plan.json")
    assert plan.training["data"]["generated_share"] == 0.5
    assert plan.asked == ("any_contrast=true",)
    assert "contrasts of their own" in plan.why["data.generated_share"]
    assert "augmentation.scale" in plan.why
    assert "50% of the training batches" in read_card(run / "model")
    assert (run / "scores-validation.csv").is_file()  # the scans set aside
    # Without the wish it would be another training.
    assert train(config=str(scans)) == 2


def test_both_sides_are_mirrored_with_their_labels(labels: Path):
    write_names(labels, {"1": "spleen", "2": "Kidney_L", "3": "rightKidney"})
    plan = planned(labels)
    assert plan["training"]["augmentation"] == {
        "mirror_pairs": [["Kidney_L", "rightKidney"]], "mirror_axes": ["R"],
    }  # fmt: skip
    assert "mirror" not in plan["training"]["generation"]["ranges"]
    assert train(*FEW, config="plan.json") == 0


def test_without_the_wish_label_maps_alone_are_refused_with_the_way_out(labels: Path, capsys):
    assert main(["plan", str(labels)]) == 1
    assert "From label maps without images --any-contrast learns." in capsys.readouterr().err


def test_label_maps_are_found_in_a_mere_folder_and_by_a_table_whose_images_are_gone(
    labels: Path, tmp_path: Path
):
    mere = find_cases(labels / "labels", may_lack_images=True)
    assert [case.name for case in mere.cases] == [f"case_{n}" for n in range(5)]
    entries = [{"image": f"gone/c{n}.nii.gz", "label": f"labels/case_{n}.nii.gz"} for n in range(5)]
    table = {"labels": {"0": "background", "1": "liver"}, "training": entries}
    (labels / "dataset.json").write_text(json.dumps(table), encoding="utf-8")
    listed = find_cases(labels, may_lack_images=True)
    assert [case.name for case in listed.cases] == [f"c{n}" for n in range(5)]
    assert not listed.has_images
    assert all(case.image == case.labels[0].path for case in listed.cases)


def test_an_image_may_be_a_folder_of_dicom(labels: Path):
    (labels / "scan").mkdir()
    (labels / "all.csv").write_text("image,label\nscan,labels/case_0.nii.gz\n", encoding="utf-8")
    assert find_cases(labels / "all.csv", may_lack_images=True).has_images


def test_one_image_that_is_gone_is_no_reason_to_do_without_the_others(scans: Path, capsys):
    entries = [
        {"image": f"images/case_{n}.nii.gz", "label": f"labels/case_{n}.nii.gz"} for n in range(5)
    ]
    table = {"labels": {"0": "background", "1": "liver"}, "training": entries}
    (scans / "dataset.json").write_text(json.dumps(table), encoding="utf-8")
    (scans / "images" / "case_3.nii.gz").unlink()
    assert main(["plan", str(scans), "--any-contrast"]) == 1
    assert "The case 'case_3' lacks its file" in capsys.readouterr().err


def test_slices_cannot_be_generated(scans: Path, capsys):
    image, labels = (array[8:9] for array in body(0))
    write_volume(scans / "images" / "case_0.nii.gz", image, geometry(image.shape))
    write_labels(scans / "labels" / "case_0.nii.gz", labels, geometry(labels.shape))
    assert main(["plan", str(scans), "--any-contrast"]) == 1
    assert "there are pictures, or volumes of one slice" in capsys.readouterr().err


def test_a_plan_says_already_what_is_generated(labels: Path, capsys):
    planned(labels)
    assert main(["train", "plan.json", "--any-contrast"]) == 2
    assert "'--any-contrast' is for data that are to be planned" in capsys.readouterr().err


def test_slices_that_lie_far_apart_are_learned_as_volumes_and_stay_where_they_are():
    case = CaseMeasures("a", (200, 200, 30), (1.5, 1.5, 7.5), 2, False, False, "", (0.0, 1.0), {})
    found = Fingerprint((case,), "MR")
    dims, axes, why = dimensions(found, in_volumes=True)
    assert (dims, axes) == (3, [0, 1, 2])
    assert "though slices lie 5.0 times as far apart as pixels" in why
    draft = Draft(("R", "A", "S"))
    draft.put("preparation.spacing", {"R": 1.5, "A": 1.5, "S": 7.5})
    draft.put("network.backbone.channels", [8, 16])
    coarse, *_ = candidates(draft, found, [200, 200, 30], on_gpu=False)
    assert coarse.changes["preparation.spacing"] == {"R": 2.25, "A": 2.25, "S": 7.5}
