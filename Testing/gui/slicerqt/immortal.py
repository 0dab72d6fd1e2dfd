"""None, True and False kept alive under PySide.

PySide 6.12 is built for Python 3.12, where nobody counts references to these three. Under an older
Python it gives away references that it never took, and the interpreter aborts once none is left.
"""

import ctypes
import sys

__all__ = ["keepAlive"]


def keepAlive() -> None:
    """Add more references than a test run can use up."""
    if sys.version_info < (3, 12) and sys.implementation.name == "cpython":
        for value in (None, True, False):
            ctypes.c_ssize_t.from_address(id(value)).value += 1 << 40
