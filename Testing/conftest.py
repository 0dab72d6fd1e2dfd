"""Order of the folders, and what two processes of tests share."""

import os
from pathlib import Path

import pytest

# Read when torch is imported: two processes with two threads each would fight for two cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_LAST = "gui"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with widgets come last; what is left of their application would reach the others.

    Each process of a parallel run takes files in this order, too, as long as xdist does not sort
    them by their size (``--no-loadscope-reorder``): pictures after widgets would be black.
    """
    items.sort(key=lambda item: _LAST in Path(item.path).parts)
