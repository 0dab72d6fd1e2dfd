"""The page to scroll and turn: what is in it, and what a browser makes of it."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from browser import needs_browser, shown_page
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, read_volume
from MorseCore.quality import viewer
from MorseCore.quality.viewer import write_viewer
from MorseCore.result import RenderedPoints, Segmentation, Structure

BUILD = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
SHAPE = (40, 50, 60)
MATRIX = np.array([[0, -1.5, 0, 9], [2, 0, 0, -7], [0, 0, 1, 4], [0, 0, 0, 1]], float)


def scan_and_result(scale: int = 1) -> tuple[Volume, Segmentation]:
    """A bright box in a dark scan; its mask is one voxel larger on one side after rendering."""
    geometry = Geometry(SHAPE, MATRIX)
    image = np.zeros(SHAPE, np.float32)
    image[18:24, 20:30, 28:34] = 900.0
    coarse = np.zeros(SHAPE, np.uint8)
    coarse[18:24, 20:30, 28:34] = 3
    refined = coarse.copy()
    refined[24, 20:30, 28:34] = 3
    fine = Geometry(tuple(scale * n for n in SHAPE), MATRIX @ np.diag([1 / scale] * 3 + [1.0]))
    coarse, refined = (x.repeat(scale, 0).repeat(scale, 1).repeat(scale, 2)
                       for x in (coarse, refined))  # fmt: skip
    structures = (Structure(3, "<b>Box</b>", (1.0, 0.0, 0.2)),)
    result = Segmentation(
        fine, structures, coarse, refined, np.zeros(fine.shape, np.float32), RenderedPoints.empty()
    )
    return Volume(image, geometry, "x"), result


def data_of(page: Path) -> dict:
    found = re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found is not None
    return json.loads(found[1])


def maps_of(page: Path) -> dict[str, Volume]:
    maps = {}
    for item in data_of(page)["maps"]:
        path = page.with_name(item["name"])
        path.write_bytes(base64.b64decode(item["base64"]))
        maps[item["name"].partition(".")[0]] = read_volume(path)
        path.unlink()
    return maps


def written(folder: Path, scale: int = 1) -> Path:
    return write_viewer(folder / "pictures" / "a & b.jpg", "a & <b>", *scan_and_result(scale))


def test_the_page_holds_the_part_around_what_was_found_where_it_lies(tmp_path: Path) -> None:
    maps = maps_of(written(tmp_path))
    volume, result = scan_and_result()
    grid = maps["scan"].geometry
    assert np.prod(grid.shape) < np.prod(SHAPE)
    for name, whole in (("coarse", result.coarse), ("refined", result.refined)):
        assert maps[name].geometry.is_close(grid)
        inside = np.argwhere(maps[name].array == 3)[:, ::-1]
        assert len(inside) == np.count_nonzero(whole)
        where = result.geometry.to_world(np.argwhere(whole)[:, ::-1].astype(float))
        np.testing.assert_allclose(grid.to_world(inside.astype(float)), where, atol=1e-3)
    values = maps["scan"].array
    assert (values[maps["coarse"].array == 3] == 255).all()
    assert values[maps["coarse"].array == 0].max() == 0
    assert volume.array.max() == 900


def test_a_large_result_is_thinned_and_stays_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer, "_MOST", 20_000)
    maps = maps_of(written(tmp_path, scale=2))
    grid, result = maps["refined"].geometry, scan_and_result(2)[1]
    assert np.prod(grid.shape) <= 20_000
    inside = np.argwhere(maps["refined"].array == 3)[:, ::-1].astype(float)
    index = np.rint(result.geometry.to_index(grid.to_world(inside))).astype(int)
    i, j, k = index.T
    assert (result.refined[k, j, i] == 3).all()
    assert len(inside)


def test_the_vendored_build_is_the_published_one_and_its_licence_lies_beside_it() -> None:
    code = gzip.decompress(viewer._BUILD.read_bytes())
    assert hashlib.sha256(code).hexdigest() == BUILD
    assert b"</script" not in code
    licences = (viewer._BUILD.parent / "niivue-LICENSES.txt").read_text(encoding="utf-8")
    assert f"@niivue/niivue {viewer.NIIVUE}" in licences
    assert "Copyright (c) 2021, Niivue" in licences


class _Addresses(HTMLParser):
    """Every address that a page names outside of its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for key, value in attrs if key in ("href", "src") and value]


def test_the_page_forbids_every_request_and_shows_names_as_text(tmp_path: Path) -> None:
    text = written(tmp_path).read_text(encoding="utf-8")
    policy = re.search(r'content="(default-src[^"]*)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert not re.search("http|file:|connect-src|unsafe-eval", policy[1])
    assert "<h1>a &amp; &lt;b&gt;</h1>" in text
    assert "<b>Box" not in text
    links = _Addresses()
    links.feed(text)
    assert links.found == ["../../report.html", "../a%20%26%20b.html"]


@needs_browser
def test_a_browser_draws_scan_and_masks_and_asks_for_nothing(tmp_path: Path) -> None:
    page = written(tmp_path)
    code = """<script>
      var asked = [];
      document.addEventListener("securitypolicyviolation", function (event) {
        asked.push(event.blockedURI);
      });
      setInterval(function () {
        performance.getEntriesByType("resource").forEach(function (e) { asked.push(e.name); });
        asked = asked.filter(function (address) { return !/^(data|blob)/.test(address); });
        document.title = "ASKED" + JSON.stringify(asked);
      }, 200);
    </script></head>"""
    probe = page.with_name("probe.html")
    text = page.read_text(encoding="utf-8").replace("</head>", code, 1)  # NiiVue has one in words
    probe.write_text(text, encoding="utf-8")
    shown, picture = shown_page(probe, tmp_path)
    assert "<title>ASKED[]</title>" in shown
    assert 'data-ready="3"' in shown
    red, green, blue = picture.astype(int).transpose(2, 0, 1)
    mixed = (abs(red - 255) < 5) & (abs(green - 128) < 5) & (abs(blue - 153) < 5)
    alone = (abs(red - 128) < 5) & (green < 5) & (abs(blue - 25) < 5)
    assert mixed.sum() > 1000  # the mask over the bright box, at half its strength
    assert alone.sum() > 100  # what was added in the dark
    assert mixed.sum() > alone.sum()
