"""The module ``ctk``."""

from typing import Any

from slicerqt import ctkwidgets
from slicerqt.wrapper import wrapperClass

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    if name in ctkwidgets.CLASSES:
        return wrapperClass(ctkwidgets.CLASSES[name])
    raise AttributeError(f"module 'ctk' has no attribute '{name}'")
