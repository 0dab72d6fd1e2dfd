"""What a cohort's folder says while a batch runs, and what another run makes again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cli_client import COHORT_FILES, CommandLine, names, read_table, write_scan
from cohorts import simulated_cohort
from MorseCore.commands.batch import run_batch
from MorseCore.quality.mosaic import LARGEST_PICTURES
from MorseCore.service.protocol import CaseSettings

SETTINGS = CaseSettings(model="phantom-tiny", passes=0, device="cpu")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    for name in "abc":
        write_scan(folder / f"{name}.nii.gz", seed=28)
    return folder


def test_the_table_says_what_is_running_and_what_waits(
    scans: Path, tmp_path: Path, warm_worker
) -> None:
    output, seen = tmp_path / "out", []

    def look(name: str, *_: object) -> None:
        rows = read_table(output / "summary.csv")
        seen.append({row["case"]: row["state"] for row in rows})

    assert run_batch([scans], output, SETTINGS, worker=warm_worker, on_result=look) == 0
    assert seen == [
        {"a": "running", "b": "waiting", "c": "waiting"},
        {"a": "done", "b": "running", "c": "waiting"},
        {"a": "done", "b": "done", "c": "running"},
    ]
    rows = read_table(output / "summary.csv")
    assert {row["state"] for row in rows} == {"done"}
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert all(50 < float(row["peak_memory_mb"]) < 50_000 for row in rows)


def test_every_case_has_a_small_picture_and_a_lost_one_is_drawn_again(
    scans: Path, tmp_path: Path, warm_worker
) -> None:
    output = tmp_path / "out"
    assert run_batch([scans], output, SETTINGS, worker=warm_worker) == 0
    assert names(output) == {"a", "b", "c"} | COHORT_FILES
    pictures = {f"{name}.{ending}" for name in "abc" for ending in ("jpg", "html")}
    assert names(output / "pictures") == pictures | {"disputed"}
    picture, disputed = output / "pictures" / "b.jpg", output / "pictures" / "disputed" / "b.jpg"
    assert picture.stat().st_size + disputed.stat().st_size <= LARGEST_PICTURES
    page = (output / "pictures" / "b.html").read_text(encoding="utf-8")
    assert 'src="disputed/b.jpg"' in page
    drawn = picture.read_bytes()
    assert 1000 < len(drawn) <= LARGEST_PICTURES
    picture.unlink()
    assert run_batch([scans], output, SETTINGS, worker=warm_worker) == 0
    assert picture.read_bytes() == drawn
    assert {row["status"] for row in read_table(output / "summary.csv")} == {"done before"}
    without = replace(SETTINGS, verdict="off")
    assert run_batch([scans], output, without, worker=warm_worker) == 0
    assert names(output / "pictures" / "disputed") == set()
    page = (output / "pictures" / "b.html").read_text(encoding="utf-8")
    assert 'src="b.jpg"' in page
    assert "disagree" not in page


def test_implausible_results_are_made_again_on_wish(
    command: CommandLine, scans: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert command.segment(scans, output=output, passes=0).code == 0
    for name, level in (("a", "implausible"), ("b", "check")):
        path = output / name / "report.json"
        report = json.loads(path.read_text(encoding="utf-8"))
        report["verdict"] = {"level": level, "reasons": [{"structure": "", "words": "Odd."}]}
        path.write_text(json.dumps(report), encoding="utf-8")
    again = command.segment(scans, output=output, passes=0).err
    assert again.count("already done") == 3
    rows = {row["case"]: row["verdict"] for row in read_table(output / "summary.csv")}
    assert list(rows.items())[:2] == [("a", "implausible"), ("b", "check")]
    again = command.segment(scans, output=output, passes=0, rerun="implausible").err
    assert "a: done in" in again
    assert again.count("already done") == 2


def test_a_copy_without_names_can_be_handed_on_and_its_key_stays(
    command: CommandLine, tmp_path: Path
) -> None:
    for name in ("Mueller_Hans", "Weber_Ida"):
        write_scan(tmp_path / "in" / f"{name}.nii.gz", seed=28)
    (tmp_path / "in" / "Zorn_Ute.nii.gz").write_bytes(b"broken")
    output = tmp_path / "out"
    assert command.segment(tmp_path / "in", output=output, passes=0).code == 1
    copy = output / "without-names"
    done = command("report", output, "--hide-names")
    assert done.out.split() == [str(output / "report.html"), str(copy / "report.html")]
    key = {row["case"]: row["shown"] for row in read_table(output / "names.csv")}
    assert key == {"Mueller_Hans": "case 1", "Weber_Ida": "case 2", "Zorn_Ute": "case 3"}
    files = [path for path in copy.rglob("*") if path.is_file()]
    assert names(copy) == {"report.html", "pictures"}
    assert names(copy / "pictures") == {
        f"case {n}.{e}" for n in (1, 2) for e in ("html", "jpg")
    } | {"disputed"}
    for path in files:
        content = path.read_bytes()
        for name in ("Mueller", "Hans", "Weber", "Zorn", "summary.csv"):
            assert name.encode() not in content + path.name.encode()
    assert "case 3" in (copy / "report.html").read_text(encoding="utf-8")
    write_scan(tmp_path / "in" / "Abel.nii.gz", seed=28)
    assert command.segment(tmp_path / "in", output=output, passes=0).code == 1
    assert command("report", output, "--hide-names").code == 0
    again = {row["case"]: row["shown"] for row in read_table(output / "names.csv")}
    assert again == key | {"Abel": "case 4"}
    for line in ("../a,a\ncase 2,b", "case 1,a\ncase 1,b"):  # changed by hand
        (output / "names.csv").write_text(f"shown,case\n{line}\n", encoding="utf-8")
        done = command("report", output, "--hide-names")
        assert done.code == 2
        assert "calls two cases alike, or one as no file can be called" in done.sentence
    assert not (output / "a.jpg").exists()
    (output / "names.csv").write_text("mine\n1\n", encoding="utf-8")
    assert "not the key of an earlier copy" in command("report", output, "--hide-names").sentence


def test_the_worst_cases_get_a_page_to_scroll_and_turn(
    command: CommandLine, scans: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert command("segment", scans, "--output", output, "--model", "phantom-tiny",
                   "--interactive", "2").code == 0  # fmt: skip
    pages = output / "pictures" / "interactive"
    shown = [row["case"] for row in read_table(output / "summary.csv")]
    assert names(pages) == {f"{name}.html" for name in shown[:2]}
    for name in shown:
        page = (output / "pictures" / f"{name}.html").read_text(encoding="utf-8")
        assert (f'href="interactive/{name}.html"' in page) == (name in shown[:2])
    text = (pages / f"{shown[0]}.html").read_text(encoding="utf-8")
    assert str(scans) not in text
    assert command("report", output).code == 0  # says nothing of them: they stay
    assert names(pages) == {f"{name}.html" for name in shown[:2]}
    write_scan(scans / f"{shown[0]}.nii.gz", seed=29)
    (scans / f"{shown[1]}.nii.gz").unlink()
    done = command("report", output, "--interactive", "3")
    assert done.code == 0
    assert f"{shown[0]}: there is no interactive page of it: its scan has changed" in done.err
    assert f"{shown[1]}: there is no interactive page of it" in done.err
    assert names(pages) == {f"{shown[2]}.html"}


def test_a_report_of_an_older_release_gets_no_page_and_says_why(
    command: CommandLine, tmp_path: Path
) -> None:
    simulated_cohort(tmp_path, 1)
    done = command("report", tmp_path, "--interactive", "1")
    assert done.code == 0
    assert "its report does not say what it was made from" in done.err


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_number_of_pages_that_makes_no_sense_is_refused(
    command: CommandLine, tmp_path: Path, count: str
) -> None:
    done = command("report", tmp_path, f"--interactive={count}")
    assert done.code == 2
    assert "expected a whole number from 1 to 1000" in done.err
