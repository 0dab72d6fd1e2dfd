"""Whatever moment a kill or a full disk chooses, one whole checkpoint is there."""

import json
import sys
from pathlib import Path

import pytest
import torch

from MorseCore.errors import ModelError, OutputError
from MorseCore.training.checkpoint import CheckpointStore


def weights(value: float, count: int = 4) -> dict[str, torch.Tensor]:
    return {"w": torch.full((count,), value)}


def saved(folder: Path, *steps: int) -> CheckpointStore:
    store = CheckpointStore(folder)
    for step in steps:
        store.save(step, weights=weights(step), trainer={"n": step}, state={"best": step / 10})
    return store


def loaded(folder: Path) -> tuple[int, float, int]:
    store = CheckpointStore(folder)
    state = store.state()
    assert state is not None
    tensors, trainer = store.load(state)
    return state["step"], float(tensors["w"][0]), trainer["n"]


def test_the_last_checkpoint_comes_back_and_the_one_before_goes(tmp_path: Path):
    saved(tmp_path, 5, 10)
    assert loaded(tmp_path) == (10, 10.0, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "state.json",
        "trainer-10.pt",
        "weights-10.safetensors",
    ]


def test_without_a_checkpoint_there_is_no_state(tmp_path: Path):
    assert CheckpointStore(tmp_path / "nothing").state() is None


@pytest.mark.parametrize("written", [["weights"], ["weights", "trainer"]])
def test_a_kill_before_the_record_leaves_the_checkpoint_before(tmp_path: Path, written):
    """The files of step 10 are there, whole or cut short, but state.json still says 5."""
    saved(tmp_path / "new", 10)
    saved(tmp_path, 5)
    for name in ("weights-10.safetensors", "trainer-10.pt"):
        if name.split("-")[0] in written:
            data = (tmp_path / "new" / name).read_bytes()
            (tmp_path / name).write_bytes(data[: len(data) // 2])
    (tmp_path / ".tmp-0123.pt").write_bytes(b"half")
    assert loaded(tmp_path) == (5, 5.0, 5)
    saved(tmp_path, 15)  # the run goes on, and clears up what the kill left
    assert len(list(tmp_path.glob("[!n]*"))) == 3
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_kill_after_the_record_leaves_the_new_checkpoint(tmp_path: Path):
    saved(tmp_path / "old", 5)
    saved(tmp_path, 10)
    for name in ("weights-5.safetensors", "trainer-5.pt"):  # not yet removed
        (tmp_path / name).write_bytes((tmp_path / "old" / name).read_bytes())
    assert loaded(tmp_path) == (10, 10.0, 10)


@pytest.mark.parametrize("name", ["weights-5.safetensors", "trainer-5.pt"])
@pytest.mark.parametrize("damage", ["gone", "cut", "flipped"])
def test_a_damaged_checkpoint_is_one_sentence_with_a_way_out(tmp_path: Path, name, damage):
    saved(tmp_path, 5)
    path = tmp_path / name
    data = bytearray(path.read_bytes())
    path.unlink()
    if damage == "cut":
        path.write_bytes(data[:-3])
    elif damage == "flipped":
        data[-2] ^= 1
        path.write_bytes(data)
    with pytest.raises(ModelError, match=r"damaged .*; start anew with resume=never"):
        loaded(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"step": 5}', '{"files": {}}'])
def test_a_damaged_record_is_one_sentence(tmp_path: Path, text):
    saved(tmp_path, 5)
    (tmp_path / "state.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="damaged"):
        CheckpointStore(tmp_path).state()


def test_a_record_cannot_point_out_of_its_folder(tmp_path: Path):
    saved(tmp_path / "elsewhere", 5)
    store = saved(tmp_path / "run", 5)
    state = store.state()
    assert state is not None
    state["files"]["weights"] = "../elsewhere/weights-5.safetensors"
    (tmp_path / "run" / "weights-5.safetensors").unlink()
    with pytest.raises(ModelError, match="damaged"):
        store.load(state)


def test_a_pickle_is_not_run(tmp_path: Path):
    saved(tmp_path, 5)
    torch.save({"n": Trap()}, tmp_path / "trainer-5.pt")
    state = json.loads((tmp_path / "state.json").read_text())
    del state["sha256"]
    (tmp_path / "state.json").write_text(json.dumps(state))
    with pytest.raises(ModelError, match="damaged"):
        loaded(tmp_path)
    assert not Trap.sprung


class Trap:
    sprung = False

    def __reduce__(self) -> tuple:
        return Trap._spring, ()

    @staticmethod
    def _spring() -> None:
        Trap.sprung = True


def test_the_state_can_be_replaced_alone(tmp_path: Path):
    store = saved(tmp_path, 5)
    store.save_state({"best": 0.9})
    state = CheckpointStore(tmp_path).state()
    assert state is not None
    assert (state["best"], state["step"]) == (0.9, 5)
    assert loaded(tmp_path) == (5, 5.0, 5)


def test_the_best_weights_are_kept_beside(tmp_path: Path):
    store = saved(tmp_path, 5)
    assert store.load_best() is None
    store.save_best(weights(0.5))
    saved(tmp_path, 10)
    best = store.load_best()
    assert best is not None
    assert float(best["w"][0]) == 0.5


def test_an_earlier_run_can_be_forgotten(tmp_path: Path):
    store = saved(tmp_path, 5)
    store.save_best(weights(0.5))
    (tmp_path / "metrics.jsonl").write_text("", encoding="utf-8")
    store.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
@pytest.mark.parametrize("large", ["weights", "trainer", "best"])
def test_a_full_disk_is_one_sentence_and_leaves_the_checkpoint_before(tmp_path: Path, large):
    """A file may not grow beyond 100 kB, which the system reports as it reports a full disk."""
    import resource

    store = saved(tmp_path, 5)
    sizes = {name: 100_000 if name == large else 4 for name in ("weights", "trainer", "best")}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))

    def save() -> None:
        store.save_best(weights(10, sizes["best"]))
        trainer = {"n": 10, "w": weights(10, sizes["trainer"])}
        store.save(10, weights=weights(10, sizes["weights"]), trainer=trainer, state={})

    try:
        with pytest.raises(OutputError, match="cannot be written"):
            save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert loaded(tmp_path) == (5, 5.0, 5)
    assert not list(tmp_path.glob(".tmp-*"))
