"""Volumes of a cohort, a line a structure and case; and what a person decided stays."""

import csv
import json
from pathlib import Path

import pytest

from cli_client import CommandLine, read_table
from cohorts import case_report, simulated_cohort
from MorseCore.errors import ConfigError
from MorseCore.quality.cohort import (
    CohortCase,
    fences,
    is_whole_report,
    participants,
    read_cohort,
)
from MorseCore.quality.volumes import VOLUMES, volume_rows, write_volumes


def rows_of(report: dict, name: str = "sub-7_ses-2_T1w") -> list[dict]:
    return list(volume_rows([CohortCase(name, report)], {}))


def test_a_line_has_volumes_sides_totals_and_freesurfers_names() -> None:
    left, right, third = rows_of(
        case_report({"Left thalamus": 6.0, "Right thalamus": 5.0, "Third ventricle": 1.5})
    )
    assert (left["subject"], left["session"], left["side"]) == ("7", "2", "left")
    assert (left["StructName"], left["SegId"]) == ("Left-Thalamus", 10)
    assert (right["StructName"], right["SegId"]) == ("Right-Thalamus", 49)
    assert (third["StructName"], third["SegId"], third["side"]) == ("3rd-Ventricle", 14, "")
    assert left["Volume_mm3"] == 6000
    assert left["total_ml"] == right["total_ml"] == 11
    assert left["asymmetry"] == pytest.approx(2 * 1 / 11, abs=1e-4)
    assert third["total_ml"] == 1.5
    assert "asymmetry" not in third
    assert left["coarse_probability_ml"] == pytest.approx(6.06)
    assert left["spacing_mm"] == "1 x 1 x 1.2"
    assert left["intracranial_ml"] == 1450.5


def test_a_structure_that_freesurfer_does_not_know_has_no_name_of_its() -> None:
    (liver,) = rows_of(case_report({"Liver": 1500.0}), "case")
    assert "StructName" not in liver
    assert (liver["subject"], liver["session"]) == ("case", "")


def test_several_structures_of_both_sides_have_their_sums() -> None:
    names = [f"{side} {part} hippocampus" for side in ("Left", "Right") for part in ("ant", "post")]
    report = case_report(dict(zip(names, (1.0, 2.0, 1.5, 2.5), strict=True)))
    report["sides"] = [{"name": "total"}]
    rows = {row["structure"]: row for row in rows_of(report)}
    assert rows["Left total"]["refined_ml"] == 3
    assert rows["Right total"]["total_ml"] == 7
    assert rows["Left total"]["asymmetry"] == pytest.approx(2 * (3 - 4) / 7, abs=1e-4)


def test_reasons_stand_with_their_structure_and_those_of_the_whole_with_all() -> None:
    volumes = {"Left thalamus": 6.0, "Right thalamus": 5.0}
    report = case_report(volumes, level="check", words="Odd.", structure="Left thalamus")
    report["verdict"]["reasons"].append({"structure": "", "words": "Thick slices."})
    left, right = rows_of(report)
    assert left["verdict"] == right["verdict"] == "check"
    assert left["reasons"] == "Odd. Thick slices."
    assert right["reasons"] == "Thick slices."


def test_outliers_are_those_beyond_the_fences_of_ten_cases_or_more() -> None:
    cases = [CohortCase(f"c{n}", case_report({"A": float(n)})) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9)]
    assert fences(cases) == {}
    cases.append(CohortCase("far", case_report({"A": 100.0})))
    # Quartiles of 1 … 9 and 100 are 3.25 and 7.75: fences at 3.25 - 6.75 and 7.75 + 6.75.
    assert fences(cases) == {("simulated", "A"): (-3.5, 14.5)}
    assert [row["outlier"] for row in volume_rows(cases, {})] == [""] * 9 + ["high"]


def test_the_batchs_table_names_what_lies_apart_in_its_cohort(
    command: CommandLine, tmp_path: Path
) -> None:
    simulated_cohort(tmp_path, 12)  # the first has a fifth of the others' volumes
    assert command("report", tmp_path).code == 0
    told = {row["case"]: row["outliers"] for row in read_table(tmp_path / "summary.csv")}
    assert "Left hippocampus" in told["sub-0000_ses-1_T1w"]
    assert "(low)" in told["sub-0000_ses-1_T1w"]
    assert sum(map(bool, told.values())) < 6


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_what_a_person_decided_is_kept_when_the_table_is_made_again(
    tmp_path: Path, delimiter: str
) -> None:
    cases = read_cohort(simulated_cohort(tmp_path, 2))
    write_volumes(tmp_path, cases)
    table = read_table(tmp_path / VOLUMES)
    assert [row["accept"] for row in table] == [""] * 6
    table[1] |= {"accept": "no", "note": "motion, see e-mail"}
    with (tmp_path / VOLUMES).open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, table[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(table)
    write_volumes(tmp_path, read_cohort(tmp_path))
    again = read_table(tmp_path / VOLUMES)
    assert again[1]["note"] == "motion, see e-mail"
    assert [row["accept"] for row in again] == ["", "no", "", "", "", ""]


def test_somebody_elses_table_is_not_overwritten(command: CommandLine, tmp_path: Path) -> None:
    simulated_cohort(tmp_path, 2)
    (tmp_path / VOLUMES).write_text("patient,ml\nA,42\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"volumes\.csv' is not a table of an earlier run"):
        write_volumes(tmp_path, [])
    done = command("report", tmp_path)
    assert (done.code, "would be overwritten" in done.sentence) == (2, True)
    assert "A,42" in (tmp_path / VOLUMES).read_text(encoding="utf-8")


def test_age_sex_and_group_come_from_participants(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tAge\tsex\tsite\nsub-0001\t33\tn/a\tX\n", encoding="utf-8"
    )
    assert participants(tmp_path) == {"0001": {"age": "33"}}
    write_volumes(tmp_path, read_cohort(simulated_cohort(tmp_path, 2)))
    ages = {row["case"]: row["age"] for row in read_table(tmp_path / VOLUMES)}
    assert ages == {"sub-0000_ses-1_T1w": "", "sub-0001_ses-1_T1w": "33"}


def test_a_single_input_has_its_table_with_both_kinds_of_volume(
    command: CommandLine, scan: Path, tmp_path: Path
) -> None:
    assert command.segment(scan, output=tmp_path).code == 0
    row = read_table(tmp_path / VOLUMES)[0]
    report = json.loads((tmp_path / "phantom" / "report.json").read_text(encoding="utf-8"))
    for key in ("coarse_ml", "refined_ml", "coarse_probability_ml", "refined_probability_ml"):
        assert float(row[key]) == report["structures"][0][key] > 0
    # A sum of probabilities is another measure of the same ball, not another ball.
    assert float(row["refined_probability_ml"]) == pytest.approx(float(row["refined_ml"]), rel=0.2)
    assert row["refined_probability_ml"] != row["refined_ml"]


@pytest.mark.parametrize("value", [5, None, "x", [1], [{}], {"a": 1}], ids=str)
@pytest.mark.parametrize(
    "key",
    ["model", "input", "versions", "seconds", "attention", "points", "warnings", "structures",
     "labels", "brain", "verdict"],
)  # fmt: skip
def test_a_report_that_was_changed_never_stops_the_others(
    command: CommandLine, tmp_path: Path, key: str, value: object
) -> None:
    spoilt, whole = sorted(simulated_cohort(tmp_path, 2).glob("*/report.json"))
    report = json.loads(spoilt.read_text(encoding="utf-8")) | {key: value}
    spoilt.write_text(json.dumps(report), encoding="utf-8")
    done = command("report", tmp_path)
    assert done.code == 0, done.err
    cases = {row["case"] for row in read_table(tmp_path / VOLUMES)}
    assert whole.parent.name in cases
    is_left_out = "sub-0000_ses-1_T1w is left out of the tables" in done.err
    assert is_left_out == (spoilt.parent.name not in cases)


def test_what_an_older_release_did_not_write_is_no_damage() -> None:
    report = case_report({"Left thalamus": 6.0})
    for key in ("brain", "warnings", "peak_memory_mb"):
        del report[key]
    assert is_whole_report(report)
    assert is_whole_report(report | {"verdict": None})
    assert not is_whole_report(report | {"structures": []})
    assert not is_whole_report({key: value for key, value in report.items() if key != "model"})
