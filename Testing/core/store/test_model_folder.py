"""A model folder is checked before anything of it is used, and nothing in it can run."""

import hashlib
import json
import pickle
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cli_client import CommandLine, names, snapshot
from MorseCore.config import decode
from MorseCore.errors import ModelError
from MorseCore.network import NetworkConfig
from MorseCore.store.library import BUILT_IN
from MorseCore.store.model_folder import CARD, INFO, WEIGHTS, load_network, read_model, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of phantom-tiny."""
    return Path(shutil.copytree(BUILT_IN / "phantom-tiny", tmp_path / "tiny"))


def edit(model: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change model.json."""
    data = json.loads((model / INFO).read_text(encoding="utf-8"))
    change(data)
    (model / INFO).write_text(json.dumps(data), encoding="utf-8")


def sign(model: Path) -> None:
    """Make the stated hash that of the weights, as somebody with intent would."""
    digest = hashlib.sha256((model / WEIGHTS).read_bytes()).hexdigest()
    edit(model, lambda data: data.update(sha256=digest))


def with_weights(model: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(model / WEIGHTS)
    change(weights)
    save_file(weights, model / WEIGHTS)
    sign(model)


def poison(weights: dict[str, torch.Tensor]) -> None:
    weights[max(weights)].view(-1)[0] = float("nan")


def set_at(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


def json_change(*path: Any, value: Any) -> Callable[[Path], None]:
    return lambda model: edit(model, set_at(*path, value=value))


def raw_json(text: str) -> Callable[[Path], None]:
    return lambda model: (model / INFO).write_text(text, encoding="utf-8") and None


def truncate_weights(model: Path) -> None:
    raw = (model / WEIGHTS).read_bytes()
    (model / WEIGHTS).write_bytes(raw[: len(raw) // 2])
    sign(model)


def flip_a_bit(model: Path) -> None:
    raw = bytearray((model / WEIGHTS).read_bytes())
    raw[-9] ^= 1
    (model / WEIGHTS).write_bytes(raw)


def drop_a_tensor(weights: dict[str, torch.Tensor]) -> None:
    weights.pop(max(weights))


def append_to_weights(model: Path) -> None:
    with (model / WEIGHTS).open("ab") as stream:
        stream.write(b"more")
    sign(model)


def as_kind(kind: torch.dtype) -> Callable[[Path], None]:
    def change(weights: dict[str, torch.Tensor]) -> None:
        weights[max(weights)] = weights[max(weights)].to(kind)

    return lambda model: with_weights(model, change)


def with_header(data: object = None, *, raw: bytes = b"") -> Callable[[Path], None]:
    """Weights of four bytes behind a header."""

    def change(model: Path) -> None:
        header = raw or json.dumps(data).encode()
        (model / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
        sign(model)

    return change


def header_of_two_gigabytes(model: Path) -> None:
    with (model / WEIGHTS).open("wb") as stream:  # sparse: it takes no room
        stream.write((2**31).to_bytes(8, "little") + b"{")
        stream.truncate(2**31 + 100)


def five_gigabytes(model: Path) -> None:
    with (model / WEIGHTS).open("r+b") as stream:
        stream.truncate(5 * 10**9)


def no_safetensors(model: Path) -> None:
    (model / WEIGHTS).write_bytes(b"weights, honestly")
    sign(model)


def unetr_of_another_size(model: Path) -> None:
    sizes = {"hidden": 6, "mlp": 4, "heads": 2, "layers": 2, "patch": 4, "channels": 2}
    network = {
        "spatial_dims": 3,
        "backbone": {"name": "unetr", "image_size": [8, 8, 4], **sizes},
        "head": {"name": "plain"},
    }
    edit(model, set_at("network", value=network))
    classes = 1 + len(json.loads((model / INFO).read_text(encoding="utf-8"))["structures"])
    built = decode(NetworkConfig, network, "").build(num_classes=classes)
    save_file(built.state_dict(), model / WEIGHTS)
    sign(model)


DEFECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "altered weights": (flip_a_bit, "altered or damaged"),
    "no weights": (lambda m: (m / WEIGHTS).unlink(), "lacks 'weights.safetensors'"),
    "no model.json": (lambda m: (m / INFO).unlink(), "lacks 'model.json'"),
    "missing key": (lambda m: edit(m, lambda d: d.pop("licence")), "'licence' is missing"),
    "unknown key": (json_change("licens", value="x"), "did you mean 'licence'"),
    "wrong type": (json_change("title", value=7), "'title' must be text"),
    "truncated weights": (truncate_weights, "incomplete or damaged"),
    "weights with a tail": (append_to_weights, "incomplete or damaged"),
    "complex weights": (
        lambda m: with_weights(m, lambda w: w.update({max(w): torch.ones(3, dtype=torch.cfloat)})),
        "as C64; weights must be real numbers",
    ),
    "float8 weights": (as_kind(torch.float8_e4m3fn), "as F8_E4M3; weights must be real numbers"),
    "whole weights": (as_kind(torch.int32), "holds I32, and real numbers are expected"),
    "infinite in single precision": (
        lambda m: with_weights(m, lambda w: w.update({max(w): w[max(w)].double() + 1e300})),
        "not numbers",
    ),
    "another shape": (
        lambda m: with_weights(m, lambda w: w.update({max(w): torch.ones(3, 1, 2)})), "the shape",
    ),
    "foreign tensor": (
        lambda m: with_weights(m, lambda w: w.update(foreign=torch.ones(2))), "has no 'foreign'",
    ),
    "a header of 2 GB": (header_of_two_gigabytes, "has a header of 2,147,483,648 bytes"),
    "a header without shapes": (with_header({"a": {"dtype": "F32"}}), "does not describe 'a'"),
    "a header of numbers": (with_header({"a": 7}), "does not describe 'a'"),
    "a nested header": (with_header(raw=b'{"a":' * 5000), "its header cannot be read"),
    "a huge tensor": (with_header({"a": {
        "dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}), "and has 4"),
    "5 GB of weights": (five_gigabytes, "may have 4,294,967,296 bytes"),
    "NaN weights": (lambda m: with_weights(m, poison), "not numbers"),
    "missing tensor": (lambda m: with_weights(m, drop_a_tensor), "do not fit its network"),
    "other architecture": (
        json_change("network", "backbone", "channels", value=[8, 16, 24]), "do not fit its network",
    ),
    "temperature": (json_change("temperature", value=0), "'temperature' must be positive"),
    "unknown architecture": (json_change("network", "head", "name", value="mors"), "'morse'"),
    "no safetensors": (no_safetensors, "damaged or no safetensors file"),
    "window": (json_change("preparation", "window", value=[24, 24, 23]), "must be multiples of"),
    "window of another size": (unetr_of_another_size, "must be the backbone's 'image_size'"),
    "huge network": (
        json_change("network", "backbone", "channels", value=[10**9] * 3), "65,536 at most",
    ),
    "endless network": (json_change("network", "head", "gate_depth", value=10**9), "at most"),
    "large network": (
        json_change("network", "backbone", "channels", value=[65536] * 3), "do not fit",
    ),
    "huge window": (json_change("preparation", "window", value=[10**6] * 3), "4096 voxels a side"),
    "large window": (json_change("preparation", "window", value=[2400] * 3), "268,435,456 in all"),
    "endless spacing": (json_change("preparation", "spacing", value=[1e300] * 3), "may be 1000"),
    "no spacing": (json_change("preparation", "spacing", value=[1.0, 0.0, 1.0]), "be positive"),
    "overlap": (json_change("windows", "overlap", value=0.999999), "may be 0.9 at most"),
    "windows at once": (json_change("windows", "batch", value=10**6), "may be 4,096 at most"),
    "points": (json_change("renderer", "points", value=10**15), "'renderer.points' may be"),
    "passes of 30 digits": (json_change("renderer", "passes", value=10**30), "18 digits at most"),
    "truth for a number": (json_change("windows", "batch", value=True), "a whole number"),
    "layers": (json_change("network", "head", "gate_depth", value=65_536), "may be 64 at most"),
    "layers of a transformer": (
        json_change("network", "backbone", value={"name": "unetr", "layers": 65_536}),
        "'backbone.layers' may be 256 at most",
    ),
    "many layers of many": (
        json_change("network", "backbone", value={
            "name": "res2net", "planes": [64] * 6, "blocks": [256] * 6, "scale": 64}),
        "far more layers than there are tensors",
    ),
    "impossible number in the network": (
        json_change("network", "head", "sigma", value=1e300), "may be 1e+06 at most",
    ),
    "locator far away": (json_change("locator", value={
        "model": "a", "structures": ["b"], "margin": 1e300}), "between 0 and 100 mm"),
    "two channels": (json_change("network", "in_channels", value=2), "must be 1"),
    "path as name": (json_change("name", value="../../etc"), "plain folder name"),
    "reserved name": (json_change("name", value="nul.txt"), "plain folder name"),
    "escape sequence": (json_change("title", value="\x1b[2J"), "one line of text"),
    "two of one name": (json_change("structures", 1, "name", value="ball"), "different names"),
    "values with a gap": (json_change("structures", 1, "value", value=3), "values 1, 2, 3"),
    "colour": (json_change("structures", 0, "color", value=[2, 0, 0]), "from 0 to 1"),
    "view": (json_change("field_of_view", value=[28.0, 28.0]), "needs 3 values"),
    "NaN": (json_change("field_of_view", value=[float("nan")] * 3), "NaN is not a JSON number"),
    "infinite": (raw_json('{"name": 1e999}'), "must be text"),
    "endless number": (raw_json('{"format": ' + "1" * 5000 + "}"), "cannot be read as JSON"),
    "huge number": (json_change("field_of_view", value=[10**400] * 3), "must be finite"),
    "deeply nested": (raw_json("[" * 100_000), "cannot be read as JSON"),
    "nested object": (raw_json('{"training": ' + '{"a":' * 900 + "1" + "}" * 901), "tiny"),
    "huge file": (raw_json('{"a": "' + "x" * 2**24 + '"}'), "too large"),
    "not an object": (raw_json("[1, 2]"), "one JSON object"),
    "no text": (lambda m: (m / INFO).write_bytes(b"\xff\xfe\x00"), "cannot be read as JSON"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "reason"), DEFECTS.values(), ids=DEFECTS)
def test_a_faulty_model_is_one_sentence_and_code_2(
    command: CommandLine, model: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    spoil(model)
    done = command("models", "verify", model)
    assert done.code == 2
    assert reason in done.sentence
    assert "tiny" in done.sentence
    assert len(done.sentence) < 700


def test_segmenting_with_a_faulty_model_writes_nothing(
    command: CommandLine, model: Path, scan: Path, tmp_path: Path
) -> None:
    flip_a_bit(model)
    done = command.segment(scan, output=tmp_path / "out", model=model)
    assert done.code == 2
    assert "altered or damaged" in done.sentence
    assert not (tmp_path / "out").exists()


class Attack:
    """Unpickling it makes a folder."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.proof,)


@pytest.mark.parametrize("kind", ["torch zip", "torch legacy", *range(6)])
def test_a_pickle_is_never_executed(
    command: CommandLine, model: Path, tmp_path: Path, kind: str | int
) -> None:
    attack = Attack(tmp_path / "executed")
    if isinstance(kind, int):
        (model / WEIGHTS).write_bytes(pickle.dumps(attack, protocol=kind))
    else:
        torch.save(attack, model / WEIGHTS, _use_new_zipfile_serialization=kind == "torch zip")
    sign(model)
    done = command("models", "verify", model)
    assert done.code == 2
    assert "pickle" in done.sentence or "no safetensors file" in done.sentence
    assert not attack.proof.exists()
    pickle.loads(pickle.dumps(attack))  # the attack itself would have worked
    assert attack.proof.exists()


def test_a_header_that_begins_like_a_pickle_is_no_pickle(model: Path) -> None:
    # The first byte is the low one of the header's length: 0x80 for one file in 32.
    raw = (model / WEIGHTS).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    padded = length + (0x80 - length) % 256
    header = raw[8 : 8 + length].ljust(padded)
    (model / WEIGHTS).write_bytes(padded.to_bytes(8, "little") + header + raw[8 + length :])
    assert (model / WEIGHTS).read_bytes()[0] == 0x80
    sign(model)
    load_network(model, read_model(model))


def test_a_written_model_is_read_back_and_readable_by_all(tmp_path: Path) -> None:
    info = read_model(BUILT_IN / "phantom-tiny")
    weights = load_network(BUILT_IN / "phantom-tiny", info).state_dict()
    written = write_model(tmp_path / "copy", info, weights, card="# Card\n")
    assert written == info
    assert names(tmp_path / "copy") == {WEIGHTS, INFO, CARD}
    modes = {stat.S_IMODE((tmp_path / "copy" / n).stat().st_mode) for n in (WEIGHTS, INFO, CARD)}
    assert len(modes) == 1
    copy = load_network(tmp_path / "copy", written).state_dict()
    assert all(torch.equal(copy[name], tensor) for name, tensor in weights.items())


def test_a_failed_export_keeps_the_older_model(model: Path) -> None:
    info = read_model(model)
    before = snapshot(model)
    with pytest.raises(AttributeError):
        write_model(model, info, {"a": torch.zeros(1)}, card=None)  # type: ignore[arg-type]
    assert snapshot(model) == before


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        read_model(tmp_path / "none")


def test_a_model_of_the_first_format_is_read_and_has_no_blocks(model: Path):
    edit(model, lambda data: data.update(format=1))
    info = read_model(model)
    assert info.format == 1
    assert (info.locator, info.verdict, info.plan, info.channels) == (None,) * 4


def test_the_blocks_of_the_second_format_survive_writing_and_reading(model: Path, tmp_path: Path):
    locator = {"model": "brain-mr", "structures": ["Left hippocampus"], "margin": 8.0}
    edit(model, lambda data: data.update(format=2, locator=locator, plan={"why": "a test"}))
    info = read_model(model)
    assert info.locator is not None
    assert (info.locator.model, info.locator.margin) == ("brain-mr", 8.0)
    again = write_model(tmp_path / "copy", info, load_file(model / WEIGHTS), card="A copy.")
    assert (again.locator, again.plan, again.format) == (info.locator, {"why": "a test"}, 2)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (set_at("format", value=3), "needs a newer release"),
        (set_at("format", value=0), "reads 1 to 2"),
        (set_at("plan", value={}), "'plan' belongs to format 2"),
        (set_at("locator", value={"model": "a/b", "structures": ["x"]}), "plain folder name"),
        (set_at("locator", value={"model": "a", "structures": []}), "at least one"),
        (set_at("locator", value={"model": "a", "structures": ["x"], "margin": -1}), "'margin'"),
    ],
)
def test_a_format_or_block_that_makes_no_sense_is_one_sentence(model: Path, change, expected):
    edit(model, lambda data: data.update(format=1))
    edit(model, change)
    with pytest.raises(ModelError, match=expected) as caught:
        read_model(model)
    assert "\n" not in str(caught.value)
