"""A configuration is read strictly: every mistake is named with its place and what was meant."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from MorseCore.config import (
    Registry,
    apply_overrides,
    decode,
    encode,
    parse_json,
    read_configuration,
    read_json,
)
from MorseCore.errors import ConfigError
from MorseCore.training.config import RunConfig
from training_runs import REPOSITORY, run_config, run_data

CONFIGS = sorted((REPOSITORY / "Training" / "configs").glob("*.json"))


@dataclass(frozen=True)
class Part:
    size: int = 1
    rate: float = 0.5
    on: bool = False
    kind: Literal["a", "b"] = "a"
    dims: Literal[2, 3] = 3
    pair: tuple[float, float] = (0.0, 1.0)
    many: tuple[int, ...] = ()
    spacing: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Whole:
    name: str
    part: Part = dataclasses.field(default_factory=Part)


def refused(data: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        decode(Whole, data, "")
    return str(caught.value)


def test_an_unknown_key_is_named_with_its_place_and_the_nearest_one():
    message = refused({"name": "x", "part": {"sise": 3}})
    assert "'part.sise'" in message
    assert "did you mean 'size'?" in message


def test_a_missing_key_is_named():
    assert refused({"part": {}}) == "The key 'name' is missing."


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"size": 1.0}, "'part.size' must be a whole number; found 1.0"),
        ({"size": True}, "'part.size' must be a whole number; found true"),
        ({"size": "1"}, "'part.size' must be a whole number"),
        ({"rate": True}, "'part.rate' must be a number; found true"),
        ({"rate": "fast"}, "'part.rate' must be a number"),
        ({"on": 1}, "'part.on' must be true or false"),
        ({"kind": "c"}, "'part.kind' must be one of a, b"),
        ({"dims": 3.0}, "'part.dims' must be one of 2, 3"),
        ({"dims": True}, "'part.dims' must be one of 2, 3"),
        ({"pair": [1.0]}, "'part.pair' must hold 2 values"),
        ({"pair": 1.0}, "'part.pair' must be a list"),
        ({"many": [1, "x"]}, "'part.many[1]' must be a whole number"),
        ({"spacing": "1 1 1"}, "'part.spacing' must be a list"),
        ([], "'part' must be an object"),
    ],
)
def test_a_wrong_type_is_named_with_its_place(part, expected):
    assert expected in refused({"name": "x", "part": part})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 10**400])
def test_a_number_that_is_not_finite_is_refused(value):
    assert "'part.rate' must be finite" in refused({"name": "x", "part": {"rate": value}})


def test_a_whole_number_may_stand_for_a_fraction_and_null_for_nothing():
    part = decode(Whole, {"name": "x", "part": {"rate": 1, "spacing": None}}, "").part
    assert part == Part(rate=1.0)
    assert isinstance(part.rate, float)


def test_a_value_that_makes_no_sense_is_named_with_its_section():
    with pytest.raises(ConfigError, match="In 'optimisation': 'batch_size' must be positive"):
        run_config(optimisation={"batch_size": 0})


def test_an_unknown_component_is_named_with_its_place_and_the_nearest_one():
    network = {"backbone": {"name": "unet3d"}, "head": {"name": "mors"}}
    with pytest.raises(ConfigError, match=r"In 'network.head': There is no head 'mors' .*'morse'"):
        run_config(network=network)


def test_a_component_without_a_name_is_refused():
    with pytest.raises(ConfigError, match="'sampler' must be an object with a 'name'"):
        decode(RunConfig, run_data() | {"sampler": {"points": 5}}, "")


def test_a_name_is_registered_once():
    registry: Registry[Any] = Registry("thing")
    registry.register("part", Part, "a paper")
    with pytest.raises(ValueError, match="already is a thing 'part'"):
        registry.register("part", Whole, "another")


def test_a_wrong_name_is_shown_on_one_line_and_not_to_its_end():
    assert refused({"name": "x", "part": {"a\nb\ud800": 1}}).startswith(
        "Unknown key 'part.a\\nb\\ud800'"
    )
    message = refused({"name": "x", "n" * 10**6: 1})
    assert "nnn..." in message
    assert len(message) < 200
    nested: Any = 1
    for _ in range(100_000):
        nested = [nested]
    assert refused({"name": nested}).endswith("nested more than 64 levels deep.")


def test_what_is_wrong_with_json_is_a_sentence():
    for text, words in (
        ('{"a": -' + "9" * 5000 + "}", "a number in it has 5000 digits"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ("[" * 100_000, "it is nested too deeply"),
        ("{", "Expecting property name"),
    ):
        with pytest.raises(ConfigError) as caught:
            parse_json(text, "The line")
        message = str(caught.value)
        assert message.startswith(f"The line cannot be read as JSON: {words}")
        assert message.endswith(".")


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_text('{"a": {"rate": 1, "rate": 2}}', encoding="utf-8")
    with pytest.raises(ConfigError, match="the key 'rate' is there twice"):
        read_json(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{", "cannot be read as JSON"),
        ("{}".encode("utf-16"), "it is no UTF-8 text; save it as that"),
        (b"[1]", "must hold one JSON object"),
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b" " * (16 * 2**20 + 1), "too large"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text, expected):
    path = tmp_path / "config.json"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=expected):
        read_json(path)


def test_a_mark_of_byte_order_that_windows_writes_is_no_error(tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_json(path) == {"a": 1}


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"gone\.json' does not exist"):
        read_json(tmp_path / "gone.json")


def test_overrides_reach_into_sections_and_leave_the_original_alone():
    data = {"a": {"b": 1}, "c": "x"}
    changed = apply_overrides(data, ["a.b=2.5", "a.d=[1, 2]", "c=never", "e.f=null", "g=a=b"])
    assert changed == {"a": {"b": 2.5, "d": [1, 2]}, "c": "never", "e": {"f": None}, "g": "a=b"}
    assert data == {"a": {"b": 1}, "c": "x"}


@pytest.mark.parametrize("override", ["seed", "=3", "seed.x=3"])
def test_an_override_that_fits_nowhere_is_refused(override):
    with pytest.raises(ConfigError, match=r"not of the form key=value|'seed' is not an object"):
        apply_overrides({"seed": 1}, [override])


def test_an_override_is_checked_like_the_file():
    with pytest.raises(ConfigError, match=r"'optimisation.iteration'.*did you mean 'iterations'"):
        decode(RunConfig, apply_overrides(run_data(), ["optimisation.iteration=3"]), "")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_can_be_read_and_survives_a_round_trip(path: Path):
    config = decode(RunConfig, read_configuration(path), "")
    assert decode(RunConfig, json.loads(json.dumps(encode(config))), "") == config
    assert path.stem.startswith(config.name)
    divisor = config.network.build(num_classes=3).divisor
    assert not any(n % divisor for n in config.preparation.window)


def test_a_configuration_may_change_keys_of_another(tmp_path: Path):
    (tmp_path / "base.json").write_text(json.dumps(run_data()), encoding="utf-8")
    changes = {"extends": "base.json", "network.head": {"name": "plain"}, "seed": 5, "device": "4"}
    path = tmp_path / "other.json"
    path.write_text(json.dumps(changes), encoding="utf-8")
    found, expected = read_configuration(path), run_data()
    expected["network"]["head"] = {"name": "plain"}
    assert found == expected | {"seed": 5, "device": "4"}
    path.write_text('{"extends": "other.json"}', encoding="utf-8")
    with pytest.raises(ConfigError, match="which extends another; one step is allowed"):
        read_configuration(path)
    for base, reason in (("gone.json", "does not exist"), (".", "is a folder")):
        path.write_text(json.dumps({"extends": base}), encoding="utf-8")
        with pytest.raises(ConfigError, match=rf"other\.json' extends '{base}', .* {reason}"):
            read_configuration(path)
    path.write_text('{"extends": 3}', encoding="utf-8")
    with pytest.raises(ConfigError, match="'extends' must be the path of a configuration"):
        read_configuration(path)


def test_a_round_trip_keeps_what_differs_from_the_defaults():
    card = {"structures": {"ball": {"name": "Ball", "color": [0.1, 0.2, 0.3]}}}
    config = run_config(seed=7, resume="never", card=card, preparation={"spacing": None})
    again = decode(RunConfig, json.loads(json.dumps(encode(config))), "")
    assert again == config
    assert (again.seed, again.resume, again.preparation.spacing) == (7, "never", None)
    assert again.card.structures["ball"].color == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"preparation": {"window": [16, 16], "spacing": None}}, "'network.spatial_dims' is 3"),
        ({"optimisation": {"supervision_stride": 17}}, "must not exceed the smallest side"),
        ({"optimisation": {"power": -1.0}}, "'power' must not be negative"),
        ({"optimisation": {"clip": 0.0}}, "'clip' must be positive"),
        ({"data": {"foreground": 1.5}}, "'foreground' must lie in"),
        ({"data": {"workers": -1}}, "'workers' must not be negative"),
        ({"network": {"in_channels": 2}}, "'network.in_channels' must be 1"),
        ({"name": "../elsewhere"}, "'name' must be a folder name"),
        ({"name": ".."}, "'name' must be a folder name"),
        ({"card": {"structures": {"ball": {"colour": [1, 1, 1]}}}}, "did you mean 'color'"),
        ({"card": {"structures": {"ball": {"color": [1, 1, 2]}}}}, "from 0 to 1"),
        ({"validation": {"every": 0}}, "'every' must be positive"),
    ],
)
def test_a_run_that_could_not_work_is_refused_before_it_begins(changes, expected):
    with pytest.raises(ConfigError, match=expected):
        run_config(**changes)


def test_a_slice_cannot_be_mirrored_along_a_third_axis():
    network = run_data()["network"] | {"spatial_dims": 2}
    flat = {"window": [16, 16], "spacing": None}
    with pytest.raises(ConfigError, match="mirror_axes' of a 2D network must be below 2"):
        run_config(preparation=flat, network=network, augmentation={"mirror_axes": [2]})
