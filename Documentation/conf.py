"""The documentation site: ``sphinx-build -W -b html Documentation build/docs``."""

import re
from typing import Any

from MorseCore import __version__

project = "MorseSegment"
author = "MorseSegment contributors"
project_copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"MorseSegment {release}"
html_copy_source = False

REPOSITORY = "https://github.com/MorseSegment/SlicerMorseSegment/blob/main"


def link_to_the_repository(app: Any, page: str, source: list[str]) -> None:
    """Pages outside of this folder, such as model cards, are read in the repository."""
    source[0] = re.sub(r"\]\(\.\./([^)#]+\.md)\)", rf"]({REPOSITORY}/\1)", source[0])


UNPACKED = re.compile(r"(?<![\w*`])\*(?=[\w(])(?![^*]*\w\*)")


def keep_stars(app: Any, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """The shape (B, C, *S) is no emphasis, *this* is."""
    for n, line in enumerate(lines):
        parts = line.split("``")  # every second part is literal
        parts[::2] = [UNPACKED.sub(r"\\*", part) for part in parts[::2]]
        lines[n] = "``".join(parts)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", link_to_the_repository)
    app.connect("autodoc-process-docstring", keep_stars)
