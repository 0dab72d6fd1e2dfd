"""A model that sees two images of a case: learned from nnU-Net's raw layout, then used."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from channel_data import NAMES, grid, two_channels, write_channels, write_raw
from cli_client import CommandLine, Outcome, names, read_report
from MorseCore import segment
from MorseCore.config import read_json
from MorseCore.errors import ImageError
from MorseCore.images.imageio import read_volume, write_volume
from MorseCore.metrics.scores import overlap
from MorseCore.planning.planfile import read_plan
from MorseCore.store.model_folder import read_model
from MorseSegmentLib.worker.catalog import Model
from train_command import train
from training_runs import script

NEW = 77  # a case that the training did not see
QUICK = (
    "device=cpu", 'preparation.window={"R": 16, "A": 16, "S": 16}',
    "network.backbone.channels=[8,16]", "sampler.points=64", "renderer.points=64",
    "optimisation.learning_rate=0.005", "optimisation.iterations=150", "validation.every=150",
    "augmentation.rotation_probability=0", "augmentation.scale_probability=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder."""
    home = tmp_path_factory.mktemp("lumps")
    data = write_raw(home / "Dataset001_Lumps", 8)
    words = [*QUICK, f"output={home.as_posix()}/runs", "name=lumps", "--hours", "0.01"]
    assert train(*words, config=str(data)) == 0
    return home / "runs" / "lumps"


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """The first channel of a new case."""
    return write_channels(tmp_path / "scans", NEW)


def dice_of(folder: Path) -> list[float]:
    found, labels = read_volume(folder / "refined.nii.gz").array, two_channels(NEW)[2]
    return [overlap(found == value, labels == value)[0] for value in (1, 2)]


def run(command: CommandLine, trained: Path, *inputs: Path, output: Path, **more: Any) -> Outcome:
    return command.segment(*inputs, output=output, model=trained / "model", device="cpu", **more)


def test_the_plan_names_each_channel_and_its_reason(trained: Path):
    plan = read_plan(trained / "plan.json")
    assert plan.channels == NAMES
    assert plan.training["preparation"]["channels"] == {
        name: {"normalisation": "zscore"} for name in NAMES
    }
    assert plan.why["preparation.channels.T2"].startswith("Brightness differs from scan to scan")
    assert plan.training["network"]["in_channels"] == 2
    assert plan.training["card"]["modality"] == "MR"
    assert {"foreground intensity T1", "foreground intensity T2"} <= plan.fingerprint.keys()


def test_the_model_says_which_images_it_sees(trained: Path):
    data = read_json(trained / "model" / "model.json")
    assert (data["channels"], data["format"]) == (list(NAMES), 2)
    assert [one["normalisation"] for one in data["preparation"]["channels"]] == ["zscore"] * 2
    card = (trained / "model" / "README.md").read_text(encoding="utf-8")
    assert "- Images of a case, in order: T1, T2" in card


def test_both_channels_decide_and_exchanged_they_mislead(
    command: CommandLine, trained: Path, case: Path, tmp_path: Path
):
    assert run(command, trained, case, output=tmp_path / "out").code == 0
    assert names(tmp_path / "out") >= {"case", "summary.csv"}
    assert min(dice_of(tmp_path / "out" / "case")) > 0.7
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    for old, new in ((0, 1), (1, 0)):
        shutil.copy(case.with_name(f"case_000{old}.nii.gz"), swapped / f"case_000{new}.nii.gz")
    assert run(command, trained, swapped, output=tmp_path / "wrong").code == 0
    assert max(dice_of(tmp_path / "wrong" / "case")) < 0.3


def test_folder_pattern_common_name_and_list_mean_the_same_case(
    command: CommandLine, trained: Path, case: Path, tmp_path: Path
):
    rows = tmp_path / "cases.csv"
    rows.write_text(
        "T1,T2,case\nscans/case_0000.nii.gz,scans/case_0001.nii.gz,case\n", encoding="utf-8"
    )
    inputs = [case, case.parent, case.parent / "*.nii.gz", case.with_name("case.nii.gz"), rows]
    masks = []
    for n, one in enumerate(inputs):
        assert run(command, trained, one, output=tmp_path / str(n), verdict="off").code == 0
        assert "case" in names(tmp_path / str(n))
        masks.append(read_volume(tmp_path / str(n) / "case" / "refined.nii.gz").array)
    assert all(np.array_equal(mask, masks[0]) for mask in masks)
    again = run(command, trained, case.parent, output=tmp_path / "0", verdict="off")
    assert "case: already done" in again.err


def test_a_missing_channel_is_one_sentence_that_names_it(
    command: CommandLine, trained: Path, case: Path, tmp_path: Path
):
    case.with_name("case_0001.nii.gz").unlink()
    done = run(command, trained, case, output=tmp_path / "out")
    assert done.code == 1
    assert (
        "case: The channel 'T2' is missing: there is no file 'case_0001.nii.gz' beside "
        "'case_0000.nii.gz'."
    ) in done.err
    rows = tmp_path / "cases.csv"
    rows.write_text("T1,T2\nscans/case_0000.nii.gz,\n", encoding="utf-8")
    done = run(command, trained, rows, output=tmp_path / "out")
    assert done.code == 2
    assert "names no 'T2'; the model sees T1, T2, a column each" in done.sentence


def test_an_image_alone_is_refused_with_the_way_out(trained: Path, case: Path):
    with pytest.raises(ImageError) as caught:
        segment(read_volume(case), model=trained / "model", device="cpu")
    assert str(caught.value) == (
        "'lumps' sees 2 images of a case together (T1, T2), and 'case_0000.nii.gz' is 1; name "
        "their files CASE_0000.nii.gz, CASE_0001.nii.gz … in this order and run: morsesegment "
        "segment CASE_0000.nii.gz --model lumps."
    )
    two = [case, case.with_name("case_0001.nii.gz")]
    with pytest.raises(ImageError, match="'phantom-tiny' sees one image of a case; found 2"):
        segment(two, model="phantom-tiny", device="cpu")


def test_python_takes_a_list_or_the_first_file(trained: Path, case: Path, tmp_path: Path):
    options = {"model": trained / "model", "device": "cpu", "verdict": "full"}
    listed = segment([case, case.with_name("case_0001.nii.gz")], **options)
    found = segment(case, **options)
    assert np.array_equal(listed.refined.array, found.refined.array)
    assert listed.report["input"]["further_channels"] == ["case_0001.nii.gz"]
    assert "stability" in listed.report["verdict"]["signals"]
    part = segment(case, roi="ijk:2,18,2,18,2,18", scale=2, **options)
    assert part.refined.array.shape == (40, 40, 40)
    assert not part.refined.array[:4].any()


def test_a_channel_on_another_grid_is_resampled_and_the_report_says_so(
    command: CommandLine, trained: Path, case: Path, tmp_path: Path
):
    other = case.with_name("case_0001.nii.gz")
    fine = np.repeat(np.repeat(np.repeat(read_volume(other).array, 2, 0), 2, 1), 2, 2)
    write_volume(other, fine, grid(1.0, 40))
    assert run(command, trained, case, output=tmp_path / "out").code == 0
    assert min(dice_of(tmp_path / "out" / "case")) > 0.7
    notes = read_report(tmp_path / "out" / "case")["warnings"]
    assert any(n.startswith("The channel case_0001.nii.gz (40 x 40 x 40") for n in notes)
    write_volume(other, fine, grid(1.0, 40, shift=500))
    done = run(command, trained, case, output=tmp_path / "apart")
    assert done.code == 1
    assert "do not lie in the same place" in done.err


def test_the_worst_case_of_a_validation_is_pictured_by_its_first_channel(trained: Path):
    assert (trained / "worst.png").is_file()


def test_cases_of_several_files_and_of_one_get_a_page_to_scroll_and_turn(
    command: CommandLine, trained: Path, case: Path, tmp_path: Path
):
    images = [SimpleITK.ReadImage(str(case.with_name(f"case_000{n}.nii.gz"))) for n in (0, 1)]
    SimpleITK.WriteImage(SimpleITK.JoinSeries(images), str(case.with_name("joined.nii.gz")))
    output = tmp_path / "out"
    assert run(command, trained, case.parent, output=output, interactive=2).code == 0
    pages = output / "pictures" / "interactive"
    assert names(pages) == {"case.html", "joined.html"}
    first = read_volume(case).array
    write_volume(case, first + 1, grid())
    done = command("report", output, "--interactive", "2")
    assert "case: there is no interactive page of it: its scan has changed" in done.err
    assert names(pages) == {"joined.html"}


def test_a_contrast_of_its_own_is_generated_for_one_image_alone(
    trained: Path, capsys: pytest.CaptureFixture[str]
):
    data = trained.parents[1] / "Dataset001_Lumps" / "dataset.json"
    words = [str(trained / "model"), str(data), "--generated", "1", "--device", "cpu"]
    assert script("score").main(words) == 2
    assert "Generated images have one channel" in capsys.readouterr().err


def test_the_panel_refuses_the_model_and_says_how_it_is_run(trained: Path):
    info = read_model(trained / "model")
    entry = {
        "name": info.name, "title": info.title, "task": info.task, "modality": info.modality,
        "points": 64, "passes": 2, "channels": list(info.channels or ()),
    }  # fmt: skip
    assert Model.fromAnswer(entry).problem == (
        "'lumps' sees 2 images of a case (T1, T2), and this panel gives one; run it from the "
        "command line: morsesegment segment CASE_0000.nii.gz --model lumps."
    )
    assert Model.fromAnswer(entry | {"channels": None}).problem == ""


def test_openvino_computes_both_channels(trained: Path, case: Path):
    pytest.importorskip("openvino")
    options = {"model": trained / "model", "device": "cpu"}
    plain, fast = segment(case, **options), segment(case, engine="openvino", **options)
    assert fast.report["engine"].startswith("openvino")
    assert (plain.refined.array != fast.refined.array).mean() < 1e-3
