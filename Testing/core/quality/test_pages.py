"""The cohort's page and a case's page, as a person opens them from a folder."""

import json
import os
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from browser import needs_browser, opened_after, ran_in_browser
from cli_client import CommandLine, read_table
from cohorts import case_report, simulated_cohort
from MorseCore.commands.cohort_tables import write_cohort
from MorseCore.quality.pages import picture_path

ODD = "a & b #1%" if os.name == "nt" else "a & <b> #1%"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve simulated cases, one of an odd name, and a failed one."""
    folder = simulated_cohort(tmp_path_factory.mktemp("cohort"), 11)
    odd = folder / ODD / "report.json"
    odd.parent.mkdir()
    report = case_report({"Left hippocampus": 3.5}, level="ok", attention=0.9)
    report["warnings"] = ["/home/somebody/scans/x.nii.gz: it is <odd>."]
    odd.write_text(json.dumps(report), encoding="utf-8")
    picture = picture_path(folder, "sub-0000_ses-1_T1w")
    picture.parent.mkdir()
    picture.write_bytes(b"\xff\xd8")
    message = "/home/somebody/scans/broken.nii.gz is not a NIfTI image."
    (folder / "summary.csv").write_text(
        f"case,status,attention,message\nbroken,failed,,{message}\n", encoding="utf-8"
    )
    write_cohort(folder)
    return folder


class _Links(HTMLParser):
    """Every address that a page names."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for key, value in attrs if key in ("href", "src") and value]


def data_of(page: Path) -> dict:
    match = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8")
    )
    assert match is not None
    return json.loads(match[1])


def test_the_worst_cases_come_first(cohort: Path) -> None:
    cases = data_of(cohort / "report.html")["cases"]
    assert [case["level"] for case in cases[:4]] == ["failed", "implausible", "check", "ok"]
    assert cases[0]["why"] == "broken.nii.gz is not a NIfTI image."
    assert "The left hippocampus is odd in case 0." in cases[1]["why"]
    assert "is an outlier of this cohort (low)" in cases[1]["why"]
    assert cases[1]["picture"] == "pictures/sub-0000_ses-1_T1w.jpg"
    assert cases[2]["picture"] == ""


def test_every_link_of_every_page_leads_to_a_file_beside_it(cohort: Path) -> None:
    pages = [cohort / "report.html", *(cohort / "pictures").glob("*.html")]
    assert len(pages) == 13
    for page in pages:
        links = _Links()
        links.feed(page.read_text(encoding="utf-8"))
        found = links.found
        if page.name == "report.html":
            cases = data_of(page)["cases"]
            found += [case[key] for case in cases for key in ("page", "picture") if case[key]]
        assert found
        for link in found:
            assert ":" not in link
            assert (page.parent / unquote(link)).is_file(), link


def test_a_page_has_no_path_of_the_machine_and_every_name_as_text(cohort: Path) -> None:
    for page in [cohort / "report.html", *(cohort / "pictures").glob("*.html")]:
        text = page.read_text(encoding="utf-8")
        assert "/home/somebody" not in text
        assert str(cohort) not in text
        assert "<b>" not in re.sub(r"<b>(low|high)</b>", "", text)
    odd = (cohort / "pictures" / f"{ODD}.html").read_text(encoding="utf-8")
    assert f"<h1>{escape(ODD)} <span" in odd
    assert "x.nii.gz: it is &lt;odd&gt;." in odd


def test_a_cases_page_has_its_volumes_with_the_cohorts_fences(cohort: Path) -> None:
    text = (cohort / "pictures" / "sub-0000_ses-1_T1w.html").read_text(encoding="utf-8")
    row = next(line for line in text.split("<tr>") if "Left hippocampus</td>" in line)
    assert row.count('<td class="number">') == 5
    assert "<b>low</b>" in row
    assert 'src="sub-0000_ses-1_T1w.jpg"' in text
    assert "The left hippocampus is odd in case 0." in text


@needs_browser
def test_the_page_sorts_and_filters_in_a_browser_and_asks_for_nothing(
    cohort: Path, tmp_path: Path
) -> None:
    names = "Array.from(document.querySelectorAll('#cases tbody td.name')).map(c => c.textContent)"
    script = f"""
      var said = {{ first: {names} }};
      function click(title) {{
        var buttons = Array.from(document.querySelectorAll('th button'));
        buttons.filter(b => b.textContent === title)[0].click();
      }}
      click('Attention'); said.attention = {names};
      click('Case'); said.up = {names}; click('Case'); said.down = {names};
      said.sorted = document.querySelector('th[aria-sort]').textContent;
      document.getElementById('worst').click(); said.worst = {names};
      var search = document.getElementById('search');
      search.value = 'ODD sub-0001'; search.dispatchEvent(new Event('input')); said.found = {names};
      search.value = ''; var level = document.getElementById('level');
      level.value = 'failed'; level.dispatchEvent(new Event('change')); said.failed = {names};
      said.shown = document.getElementById('shown').textContent;
      said.dots = document.querySelectorAll('#strips circle').length;
      said.red = document.querySelectorAll('#strips circle.out').length;
      said.fences = document.querySelectorAll('#strips line.fence').length;
      said.dot = document.querySelector('#strips a').getAttribute('href');
      said.asked = performance.getEntriesByType('resource').map(e => e.name);
      return said;
    """
    said = ran_in_browser(cohort / "report.html", script, tmp_path)
    assert all(address.startswith("file:") for address in said["asked"])
    every = [case["name"] for case in data_of(cohort / "report.html")["cases"]]
    assert said["first"] == said["worst"] == every
    assert said["attention"][0] == ODD
    assert said["attention"][-1] == "broken"  # has none
    assert said["up"] == sorted(every)
    assert said["down"] == said["up"][::-1]
    assert said["sorted"] == "Case"
    assert said["found"] == ["sub-0001_ses-1_T1w"]
    assert said["failed"] == ["broken"]
    assert said["shown"] == "1 of 13 shown"
    assert said["dots"] == 3 * 11 + 1
    assert said["red"] >= 3
    assert said["fences"] == 6
    assert said["dot"].startswith("pictures/")


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_are_no_wider_than_the_window(cohort: Path, tmp_path: Path, width: int) -> None:
    script = "return [document.documentElement.scrollWidth, window.innerWidth];"
    for page in (cohort / "report.html", cohort / "pictures" / "sub-0000_ses-1_T1w.html"):
        needed, given = ran_in_browser(page, script, tmp_path, width=width)
        assert given == width
        assert needed <= given


@needs_browser
@pytest.mark.parametrize(
    "click",
    [
        "document.querySelectorAll('#cases tbody tr')[1].cells[3].click()",
        "document.querySelector('#strips a').dispatchEvent("
        "new MouseEvent('click', {bubbles: true, cancelable: true}))",
    ],
    ids=["row", "dot"],
)
def test_a_row_and_a_dot_open_their_case(cohort: Path, tmp_path: Path, click: str) -> None:
    assert "<h1>sub-0000_ses-1_T1w" in opened_after(cohort / "report.html", click, tmp_path)


def test_report_makes_tables_and_pages_again(command: CommandLine, tmp_path: Path) -> None:
    simulated_cohort(tmp_path, 3)
    (tmp_path / "summary.part-1-of-2.csv").write_text(
        "case,status,attention,message\nlost,failed,,It was lost.\n", encoding="utf-8"
    )
    done = command("report", tmp_path)
    assert (done.code, done.out.strip()) == (0, str(tmp_path / "report.html"))
    rows = read_table(tmp_path / "summary.csv")
    assert [row["state"] for row in rows] == ["", "done", "done", "done"]
    assert [row["verdict"] for row in rows] == ["", "implausible", "check", "ok"]
    assert rows[0]["message"] == "It was lost."
    assert len(read_table(tmp_path / "volumes.csv")) == 9
    assert len(list((tmp_path / "pictures").glob("*.html"))) == 3


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: None, "holds no results"),
        (lambda folder: folder.rmdir(), "There is no folder"),
        (lambda folder: (folder / "report.html").write_text("mine"), "not a page of an earlier"),
    ],
)
def test_report_without_results_is_one_sentence(
    command: CommandLine, tmp_path: Path, make, sentence: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    make(folder)
    done = command("report", folder)
    assert done.code == 2
    assert sentence in done.sentence
