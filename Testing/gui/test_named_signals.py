"""What is told by name reaches whoever connected to that name."""

import pytest

from MorseSegmentLib.worker.signals import Signals


def test_each_function_hears_its_signal_in_the_order_of_connecting() -> None:
    signals, heard = Signals("progress", "finished"), []
    signals.connect("finished", lambda name: heard.append(("first", name)))
    signals.connect("finished", lambda name: heard.append(("second", name)))
    signals.emit("progress", 50)
    signals.emit("finished", "Liver")
    assert heard == [("first", "Liver"), ("second", "Liver")]


def test_a_misspelt_signal_is_noticed_on_either_side() -> None:
    signals = Signals("finished")
    with pytest.raises(ValueError, match="no signal 'finnished'; there are: finished"):
        signals.connect("finnished", print)
    with pytest.raises(ValueError, match="no signal 'done'"):
        signals.emit("done")


def test_an_error_goes_to_whoever_emitted() -> None:
    signals = Signals("result")

    def clumsy() -> None:
        raise OSError("the disk is full")

    signals.connect("result", clumsy)
    with pytest.raises(OSError, match="full"):
        signals.emit("result")


def test_a_function_that_connects_or_disconnects_meanwhile_disturbs_nobody() -> None:
    signals, heard = Signals("changed"), []
    signals.connect("changed", signals.disconnectAll)
    signals.connect("changed", lambda: heard.append(1))
    signals.emit("changed")
    signals.emit("changed")
    assert heard == [1]
