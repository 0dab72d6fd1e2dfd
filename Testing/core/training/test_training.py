"""The loop learns, skips what it cannot use, and draws by step alone."""

import logging
import math
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from MorseCore.errors import MorseError
from MorseCore.images.preparation import normalise
from MorseCore.system.devices import choose_precision
from MorseCore.training.config import OptimisationConfig
from MorseCore.training.dataset import PreparedCase
from MorseCore.training.log import RunLog
from MorseCore.training.phantoms import make_phantom
from MorseCore.training.step import is_trained, learning_rate, loss_weights
from training_runs import (
    flat_config,
    largest_difference,
    losses_of,
    make_trainer,
    phantom_cases,
    records,
    run_config,
    spoiled,
)

STEPS = {"iterations": 4, "learning_rate": 0.003}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def weights_of(folder: Path, step: int = 4) -> dict[str, torch.Tensor]:
    return load_file(folder / f"weights-{step}.safetensors")


def large_slices(*seeds: int) -> list[PreparedCase]:
    cases = []
    for seed in seeds:
        image, labels = make_phantom(seed, shape=(32, 32))
        image = normalise(image, run_config().preparation)
        cases.append(PreparedCase(str(seed), image[None], labels[None], (1.0,) * 3))
    return cases


def test_a_network_learns_to_segment_phantoms(tmp_path: Path):
    flat = flat_config()
    network = replace(flat.network, backbone=replace(flat.network.backbone, channels=(8, 16, 16)))
    quiet = {
        f"{kind}_probability": 0.0
        for kind in ("noise", "blur", "low_resolution", "gamma", "rotation", "scale")
    }
    config = replace(
        run_config(
            preparation={"window": [32, 32], "spacing": [1.0, 1.0]},
            network={"spatial_dims": 2},
            optimisation={"iterations": 100, "batch_size": 4, "learning_rate": 0.01},
            augmentation={"mirror_axes": [0, 1], **quiet},
            validation={"every": 50},
        ),
        network=network,
    )
    trainer = make_trainer(
        config, tmp_path, train=large_slices(*range(24)), val=large_slices(100, 101, 102, 103)
    )
    assert trainer.run()
    last = records(tmp_path)[-1]["validation"]
    assert last["refined"]["dice"] > 0.6
    assert trainer.best == (True, pytest.approx(last["refined"]["dice"]))


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path: Path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        config = flat_config(optimisation=STEPS, seed=seed)
        torch.rand(3)  # what the caller drew has no part in it
        make_trainer(config, tmp_path / name, train=phantom_cases(0, 1, dims=2)).run()
    a, b, c = (weights_of(tmp_path / name) for name in "abc")
    assert largest_difference(a, b) == 0
    assert largest_difference(a, c) > 0


def test_processes_that_prepare_samples_change_nothing(tmp_path: Path):
    for workers in (0, 2):
        config = flat_config(optimisation=STEPS, data={"workers": workers})
        make_trainer(config, tmp_path / str(workers), train=phantom_cases(0, 1, dims=2)).run()
    assert largest_difference(weights_of(tmp_path / "0"), weights_of(tmp_path / "2")) == 0


def test_the_caller_s_random_numbers_and_signal_handlers_are_left_alone(tmp_path: Path):
    before = signal.getsignal(signal.SIGTERM)
    trainer = make_trainer(
        flat_config(optimisation=STEPS), tmp_path, train=phantom_cases(0, dims=2)
    )
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    trainer.run()
    assert torch.equal(torch.rand(2), expected)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_in_a_thread_needs_no_signals(tmp_path: Path):
    trainer = make_trainer(
        flat_config(optimisation=STEPS), tmp_path, train=phantom_cases(0, dims=2)
    )
    finished = []
    thread = threading.Thread(target=lambda: finished.append(trainer.run()))
    thread.start()
    thread.join()
    assert finished == [True]


def test_two_batches_of_one_sample_average_to_one_batch_of_two(tmp_path: Path, monkeypatch):
    """Of losses that are means. Dice is a ratio of sums over a batch, so it is left out here."""
    from torch.nn import functional

    monkeypatch.setattr("MorseCore.heads.head.region_loss", functional.cross_entropy)
    network = {"spatial_dims": 2, "backbone": {"name": "unet3d", "channels": [8, 16]}}
    for name, batch, accumulate in (("one", 2, 1), ("two", 1, 2)):
        options = {**STEPS, "batch_size": batch, "accumulate": accumulate, "precision": "fp32"}
        config = flat_config(network={**network, "head": {"name": "plain"}}, optimisation=options)
        make_trainer(config, tmp_path / name, train=phantom_cases(0, 1, dims=2)).run()
    assert losses_of(tmp_path / "one") == pytest.approx(losses_of(tmp_path / "two"), abs=1e-5)
    assert largest_difference(weights_of(tmp_path / "one"), weights_of(tmp_path / "two")) < 1e-3


def test_a_step_without_a_finite_loss_is_skipped_and_counted(tmp_path: Path):
    good = phantom_cases(0, 1, dims=2)
    network = {"spatial_dims": 2, "backbone": {"name": "unet", "channels": [4, 6],
               "dropout": [0.0, 0.1]}, "head": {"name": "plain"}}  # fmt: skip
    config = flat_config(network=network, optimisation={**STEPS, "iterations": 6})
    trainer = make_trainer(config, tmp_path, train=[*good, spoiled(good[0])])
    assert trainer.run()
    skipped = [record for record in records(tmp_path) if "skipped" in record]
    assert [record["skipped"] for record in skipped] == [1, 2]  # two epochs of three cases
    assert len(losses_of(tmp_path)) == 4
    # Batch normalisation remembers what it has seen: not this.
    assert all(bool(torch.isfinite(x).all()) for x in weights_of(tmp_path, 6).values())


def test_a_gradient_that_is_not_finite_does_not_reach_the_weights(tmp_path: Path):
    """The loss is finite here, its derivative is not."""
    trainer = make_trainer(
        flat_config(optimisation=STEPS), tmp_path, train=phantom_cases(0, dims=2)
    )
    parameter = next(trainer.network.parameters())
    parameter.register_hook(lambda gradient: gradient * math.inf)
    trainer.run()
    assert trainer.skipped == 4
    assert all(bool(torch.isfinite(x).all()) for x in weights_of(tmp_path).values())


def test_a_run_whose_loss_stays_infinite_gives_up_in_one_sentence(tmp_path: Path):
    config = flat_config(optimisation={"iterations": 100}, validation={"every": 10})
    trainer = make_trainer(config, tmp_path, train=[spoiled(phantom_cases(0, dims=2)[0])])
    with pytest.raises(MorseError, match=r"not finite in 20 steps in a row, up to step 20; try a"):
        trainer.run()
    assert trainer.store.state()["step"] == 10
    assert not (tmp_path / "best.safetensors").exists()


def test_without_a_validation_split_the_last_weights_are_chosen(tmp_path: Path):
    trainer = make_trainer(
        flat_config(optimisation=STEPS), tmp_path, train=phantom_cases(0, dims=2)
    )
    assert trainer.run()
    assert largest_difference(trainer.chosen_weights(), weights_of(tmp_path)) == 0
    assert trainer.store.state()["best"] is None
    assert not any("validation" in record for record in records(tmp_path))


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_weights_are_the_best_or_the_last_as_asked(tmp_path: Path, keep):
    config = flat_config(optimisation=STEPS, validation={"every": 2, "keep": keep})
    trainer = make_trainer(
        config, tmp_path, train=phantom_cases(0, dims=2), val=phantom_cases(9, dims=2)
    )
    assert trainer.run()
    trainer.store.save_best({"w": torch.zeros(1)})
    assert (set(trainer.chosen_weights()) == {"w"}) == (keep == "best")


def test_weights_of_before_rendering_was_trained_give_way_to_any_of_after(tmp_path: Path):
    config = flat_config(optimisation=STEPS, validation={"every": 1})
    trainer = make_trainer(
        config, tmp_path, train=phantom_cases(0, dims=2), val=phantom_cases(9, dims=2)
    )
    trainer.best = (False, 1.0)  # as if the first half had been perfect
    assert trainer.run()
    assert trainer.best[0]
    assert trainer.best[1] < 1.0


def test_the_branches_of_a_head_are_trained_once_their_loss_has_weight():
    options = OptimisationConfig(iterations=10)
    base = {"sup": 1.0, "rend": 1.0, "gate": 0.25}
    assert loss_weights(base, 5, options) == {"sup": 1.0, "gate": 0.25}
    weights = loss_weights({**base, "rend": 2.0}, 9, options)
    assert weights == {"sup": 1.0, "rend": pytest.approx(0.08), "gate": 0.25}
    trained = [is_trained(base, steps, options) for steps in (0, 6, 7, 10)]
    assert trained == [False, False, True, True]
    assert is_trained({"sup": 1.0, "rend": 0.0}, 1, options)


def test_the_rate_decays_to_zero_by_a_power():
    options = OptimisationConfig(iterations=100, learning_rate=0.5, power=0.9)
    assert [learning_rate(t, options) for t in (0, 50, 100)] == [
        0.5,
        pytest.approx(0.5 * 0.5**0.9),
        0.0,
    ]


def test_the_log_tells_the_rate_that_a_step_had(tmp_path: Path):
    config = flat_config(optimisation=STEPS)
    make_trainer(config, tmp_path, train=phantom_cases(0, dims=2)).run()
    rates = [record["rate"] for record in records(tmp_path)]
    assert rates == [learning_rate(t, config.optimisation) for t in range(4)]


@pytest.mark.parametrize(
    ("wish", "kind", "capability", "expected"),
    [
        ("auto", "cpu", None, "fp32"),
        ("auto", "cuda", (7, 5), "fp16"),
        ("auto", "cuda", (8, 0), "bf16"),
        ("auto", "cuda", (9, 0), "bf16"),
        ("fp32", "cuda", (9, 0), "fp32"),
        ("bf16", "cpu", None, "bf16"),
    ],
)
def test_the_precision_follows_the_device(wish, kind, capability, expected):
    assert choose_precision(wish, kind=kind, capability=capability) == expected


@pytest.mark.parametrize(("wish", "expected"), [("auto", "bf16"), ("fp32", "fp32")])
def test_a_cpu_computes_in_bf16_where_it_has_matrix_units_for_it(wish, expected):
    assert choose_precision(wish, kind="cpu", has_amx=True) == expected


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains(tmp_path: Path, precision):
    config = flat_config(optimisation={**STEPS, "precision": precision})
    trainer = make_trainer(config, tmp_path, train=phantom_cases(0, dims=2))
    assert trainer.run()
    weights, state = trainer.store.load(trainer.store.state())
    assert all(x.dtype == torch.float32 for x in weights.values())
    assert bool(state["scaler"]) == (precision == "fp16")  # small gradients would vanish in fp16


def test_a_log_goes_on_behind_the_checkpoint(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    lines = ['{"step": 1}', '{"step": 2}', '{"step": 2, "validation": {}}', '{"step": 3}', '{"st']

    def kept(step: int, *, validated: bool) -> list[str]:
        path.write_text("\n".join(lines), encoding="utf-8")
        log = RunLog(tmp_path, enabled=True)
        log.start(step, validated=validated)
        log.close()
        return path.read_text(encoding="utf-8").splitlines()

    assert kept(2, validated=True) == lines[:3]
    assert kept(2, validated=False) == lines[:2]
    assert kept(0, validated=True) == []


def test_only_the_main_process_writes_a_log(tmp_path: Path):
    log = RunLog(tmp_path / "run", enabled=False)
    log.start(0)
    log.losses(1, {"total": 1.0}, rate=0.1)
    log.close()
    assert not (tmp_path / "run").exists()


def test_a_log_without_a_terminal_tells_the_time_left(tmp_path: Path, monkeypatch, caplog):
    monkeypatch.setattr("MorseCore.training.log._PAUSE", 0.0)
    from MorseCore.training.log import training_progress

    with (
        caplog.at_level(logging.INFO),
        training_progress("run", start=10, total=20, enabled=True, folder=tmp_path) as tell,
    ):
        tell(11, {"total": 0.5})
    assert "step 11 of 20: total 0.500;" in caplog.text
    assert caplog.text.rstrip().endswith("left")
