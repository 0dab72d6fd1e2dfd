"""Named signals: whoever makes something tells whoever waits for it, and knows nobody. No Qt."""

from collections.abc import Callable
from typing import Any

__all__ = ["Signals"]


class Signals:
    """What an object has to tell, by name, and the functions that hear it.

    Functions are called at once, in the order in which they were connected. If one raises, the
    others are not called, and whoever emitted gets the exception.

    Example::

        signals = Signals("progress", "finished")
        signals.connect("finished", panel.show)
        signals.emit("finished", result)      # panel.show(result)

    :param names: all the signals there are; another name is an error on either side.
    """

    def __init__(self, *names: str) -> None:
        self._functions: dict[str, list[Callable[..., None]]] = {name: [] for name in names}

    def connect(self, name: str, function: Callable[..., None]) -> None:
        """Call a function with the values of every such signal from now on.

        :raises ValueError: if there is no such signal.
        """
        self._connected(name).append(function)

    def emit(self, name: str, *values: Any) -> None:
        """Call all functions that are connected; nothing happens if none is.

        :raises ValueError: if there is no such signal.
        """
        for function in list(self._connected(name)):
            function(*values)

    def disconnectAll(self) -> None:
        """Nobody hears anything any more."""
        for functions in self._functions.values():
            functions.clear()

    def _connected(self, name: str) -> list[Callable[..., None]]:
        try:
            return self._functions[name]
        except KeyError:
            known = ", ".join(self._functions)
            raise ValueError(f"There is no signal '{name}'; there are: {known}.") from None
