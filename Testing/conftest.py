"""Order of the folders: the widgets' stand-ins change the process that they are installed in."""

from pathlib import Path

import pytest

_LAST = "gui"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with widgets come last; what is left of their application would reach the others."""
    items.sort(key=lambda item: _LAST in Path(item.path).parts)
