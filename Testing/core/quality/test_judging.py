"""A verdict is the worst of its reasons, and says what it could not check."""

import pytest

from MorseCore.config import decode, encode
from MorseCore.errors import ConfigError
from MorseCore.quality.signals import SignalValue
from MorseCore.quality.thresholds import ANY, Threshold, VerdictInfo
from MorseCore.quality.verdict import Reason, describe, join_verdicts, judge

LIVER = Threshold("volume", "Liver", 1500.0, (900.0, 2600.0), (500.0, 4500.0))
AGREE = Threshold("agreement", "", 0.95, (0.9, None), (0.8, None))


def test_severity_is_one_at_the_limit_and_two_at_the_far_one() -> None:
    assert LIVER.severity(1500) == 0
    assert LIVER.severity(900) == pytest.approx(1)
    assert LIVER.severity(500) == pytest.approx(2)
    assert LIVER.severity(4500) == pytest.approx(2)
    assert LIVER.severity((1500 * 900) ** 0.5) == pytest.approx(0.5)  # a factor counts
    assert LIVER.severity(0) > 2
    assert AGREE.severity(1.0) == 0  # more agreement is not worse
    assert AGREE.severity(0.85) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("volume", "level"),
    [(1500, "ok"), (901, "ok"), (899, "check"), (501, "check"), (499, "implausible")],
)
def test_the_level_follows_the_limits(volume: float, level: str) -> None:
    verdict = judge([SignalValue("volume", "Liver", volume)], [LIVER], mode="fast")
    assert verdict["level"] == level
    assert verdict["structures"] == {"Liver": level}


def test_a_reason_says_what_was_found_and_what_is_expected() -> None:
    verdict = judge([SignalValue("volume", "Liver", 480.0)], [LIVER], mode="fast")
    [reason] = verdict["reasons"]
    assert reason["words"] == "The volume of Liver is 480 ml; at least 900 ml is expected."
    assert (reason["structure"], reason["signal"], reason["value"]) == ("Liver", "volume", 480.0)
    assert reason["range"] == [900.0, 2600.0]
    assert describe(verdict) == f"implausible: {reason['words']}"


def test_ok_means_plausible_as_far_as_checked_and_names_the_rest() -> None:
    verdict = judge([SignalValue("volume", "Liver", 1500.0)], [LIVER], mode="fast")
    assert verdict["words"] == "Plausible as far as checked."
    assert "volume" not in verdict["not_checked"]
    assert {"agreement", "attention", "stray"} <= {*verdict["not_checked"]}


def test_a_rule_without_a_limit_counts_and_the_worst_structure_keeps_its_level() -> None:
    rule = Reason("", "modality", None, (None, None), "It is CT.", "implausible", 2.0)
    seen = [SignalValue("volume", "Liver", 899.0), SignalValue("stray", "Liver", 0.0)]
    verdict = judge(seen, [LIVER], rules=[rule], mode="fast")
    assert verdict["level"] == "implausible"
    assert verdict["structures"] == {"Liver": "check"}
    assert [reason["signal"] for reason in verdict["reasons"]] == ["modality", "volume"]


def test_a_limit_for_any_structure_gives_way_to_its_own() -> None:
    limits = [
        Threshold("contact", ANY, 0.0, (None, 0.3), (None, None)),
        Threshold("contact", "Liver", 0.5, (None, 1.0), (None, 2.0)),
    ]
    seen = [SignalValue("contact", "Liver", 0.8), SignalValue("contact", "Spleen", 0.8)]
    verdict = judge(seen, limits, mode="fast")
    assert verdict["structures"] == {"Liver": "ok", "Spleen": "check"}


def test_two_sides_are_one_verdict_with_their_difference() -> None:
    bad = judge([SignalValue("volume", "Liver", 480.0), SignalValue("agreement", "", 0.7)],
                [LIVER, AGREE], mode="fast")  # fmt: skip
    good = judge([SignalValue("volume", "Liver", 1500.0)], [LIVER], mode="fast")
    names = {"left": {"Liver": "Left liver"}, "right": {"Liver": "Right liver"}}
    limit = Threshold("asymmetry", ANY, 0.0, (None, 0.5), (None, None))
    pairs = [SignalValue("asymmetry", "Liver", 1.03)]
    joined = join_verdicts({"left": bad, "right": good}, names, pairs, [limit])
    assert joined["level"] == "implausible"
    assert joined["structures"]["Left liver"] == "implausible"
    assert joined["structures"]["Right liver"] == "ok"
    words = [reason["words"] for reason in joined["reasons"]]
    assert "The volume of Left liver is 480 ml; at least 900 ml is expected." in words
    assert any("of the left side" in line for line in words)
    assert any("difference of left and right of Liver" in line for line in words)
    assert "asymmetry" not in joined["not_checked"]


def test_a_side_that_is_missing_is_a_reason_to_look() -> None:
    good = judge([SignalValue("volume", "Liver", 1500.0)], [LIVER], mode="fast")
    names = {"left": {"Liver": "Left liver"}, "right": {"Liver": "Right liver"}}
    joined = join_verdicts({"left": good}, names, [], [])
    assert joined["level"] == "check"
    assert joined["reasons"][0]["words"] == "Nothing was segmented on the right side."


def test_the_block_of_a_model_is_read_as_it_was_written() -> None:
    info = VerdictInfo((LIVER, AGREE), "27 cases", {"good": 0.04})
    assert decode(VerdictInfo, encode(info), "verdict") == info


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("size", "", 1.0, (None, 2.0), (None, 3.0)), "no signal 'size'"),
        (("volume", "", 1.0, (2.0, None), (0.5, None)), "in order"),
        (("volume", "", 1.0, (0.5, None), (0.7, None)), "in order"),
        (("volume", "", 1e-9, (0.0, None), (None, None)), "in order"),  # one logarithm
    ],
)
def test_limits_that_make_no_sense_are_refused(values: tuple, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Threshold(*values)
