"""A real browser without a window: a page is opened from its file, and a script clicks in it."""

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

__all__ = ["needs_browser", "opened_after", "ran_in_browser", "shown_page"]

_FLAT = ("--disable-gpu", "--virtual-time-budget=5000")
_WEBGL = (  # without a GPU
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--virtual-time-budget=30000",
)  # fmt: skip
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_BROWSER = next((path for name in _NAMES if (path := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(_BROWSER is None, reason="no Chromium on this machine")


def ran_in_browser(page: Path, script: str, folder: Path, *, width: int = 1280) -> Any:
    """What a script finds in a page that was opened in a frame of this width.

    :param script: the body of a function that returns something for JSON.
    :param folder: for the browser's own files.
    """
    probe = _copy_with(
        page,
        "var answer; try { answer = (function () {" + script + "}()); } "
        "catch (error) { answer = String(error); } "
        "parent.postMessage(JSON.stringify(answer), '*');",
    )
    frame = page.with_name("frame.html")
    frame.write_text(
        "<!DOCTYPE html><script>addEventListener('message', function (event) "
        "{ document.title = 'ANSWER' + event.data; });</script>"
        f'<iframe src="{probe.name}" style="border:0;width:{width}px;height:900px"></iframe>',
        encoding="utf-8",
    )
    shown = _shown(frame, folder)
    for path in (probe, frame):
        path.unlink()
    match = re.search(r"<title>ANSWER(.*?)</title>", shown, re.DOTALL)
    assert match is not None, shown[-2000:]
    return json.loads(unescape(match[1]))


def opened_after(page: Path, script: str, folder: Path) -> str:
    """The document that the browser shows after a script has clicked."""
    probe = _copy_with(page, script)
    shown = _shown(probe, folder)
    probe.unlink()
    return shown


def shown_page(page: Path, folder: Path) -> tuple[str, np.ndarray]:
    """The document of a page as it is, once it has loaded, and its picture: (H, W, 3) uint8.

    What draws in 3D has WebGL.
    """
    picture = folder / "picture.png"
    shown = _shown(page, folder, (*_WEBGL, f"--screenshot={picture}"))
    return shown, SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(picture)))[..., :3]


def _copy_with(page: Path, script: str) -> Path:
    """A page beside another one that does something more when it is loaded."""
    text = page.read_text(encoding="utf-8")
    if "script-src" not in text:
        text = text.replace("style-src", "script-src 'unsafe-inline'; style-src")
    code = f"<script>window.addEventListener('load', function () {{ {script} }});</script></body>"
    probe = page.with_name("probe.html")
    probe.write_text(text.replace("</body>", code), encoding="utf-8")
    return probe


def _shown(page: Path, folder: Path, options: tuple[str, ...] = _FLAT) -> str:
    done = subprocess.run(
        [
            str(_BROWSER), "--headless", "--no-sandbox", *options, "--no-first-run",
            "--disable-background-networking", "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1400,1000",
            f"--user-data-dir={folder / 'profile'}", "--dump-dom",
            page.absolute().as_uri(),
        ],
        capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=120,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    return done.stdout
