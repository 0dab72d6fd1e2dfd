"""Pictures at the end of long work: worth having, but not worth the work."""

import logging
from collections.abc import Callable

__all__ = ["try_drawing"]

log = logging.getLogger(__name__)


def try_drawing(draw: Callable[[], None]) -> bool:
    """Draw, or say why not; whether there is a picture.

    matplotlib may be missing (it is of the extra ``train``) or not fit, and the old picture may be
    open in another program: hours of work before it must not end in an error for that.
    """
    try:
        draw()
    except Exception as error:
        log.warning("No picture was drawn: %s", error)
        return False
    return True
