"""What a training needs of the machine is compared with what there is, before a file is read."""

import pytest
import torch

from MorseCore.errors import ConfigError, DeviceError
from MorseCore.store.metadevice import shapes_only
from MorseCore.system.acceptance import NOTHING, Acceptance
from MorseCore.system.memory import is_out_of_memory, memory_limited
from MorseCore.training.needs import check_needs, saved_bytes
from networks import BACKBONES, make_network
from training_runs import flat_config, make_trainer, phantom_cases, run_config

CPU = torch.device("cpu")
GIB = 2**30


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("MorseCore.training.needs.physical_memory", lambda: GIB)


def test_a_training_that_fits_gets_no_word(small_machine: None) -> None:
    accepted = Acceptance(["memory"])
    check_needs(run_config(), CPU, accepted)
    assert accepted.used == []


@pytest.mark.parametrize(
    "changes",
    [
        {"optimisation": {"batch_size": 5000, "precision": "fp32"}},
        {"preparation": {"window": [512, 512, 512]}},
        {"network": {"backbone": {"name": "unet3d", "channels": [4096, 4096]}}},
        {"network": {"backbone": {"name": "unet3d", "channels": [65536, 65536, 65536]}}},
    ],
    ids=["batch", "window", "network", "gigantic network"],
)
def test_more_memory_than_there_is_is_refused_and_can_be_accepted(
    small_machine: None, changes: dict
) -> None:
    config = run_config(**changes)
    with pytest.raises(DeviceError, match=r"needs at least [\d.,]+ GiB .* machine has 1\.0 GiB"):
        check_needs(config, CPU, config.acceptance())
    accepted = Acceptance(["memory"])
    check_needs(config, CPU, accepted)
    assert "(accepted: memory)" in accepted.used[0]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", BACKBONES)
def test_what_is_counted_without_values_is_what_is_kept(name: str, dims: int) -> None:
    """The same hooks on a real pass see tensors of the same size."""
    if (name, dims) == ("transunet", 3):
        pytest.skip("it is two-dimensional")
    network = make_network(name, "i2net", dims=dims)
    with shapes_only():
        empty = make_network(name, "i2net", dims=dims)
    size = (8, 16, 24)[:dims]
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network.train().backbone(torch.zeros(1, 1, *size))
    real = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)
    assert saved_bytes(empty, size) == pytest.approx(real, rel=0.15)


def test_a_window_that_does_not_suit_the_network_is_found_without_data() -> None:
    config = run_config(preparation={"window": [18, 16, 16]})
    with pytest.raises(ConfigError, match="must be a multiple of 4"):
        check_needs(config, CPU, NOTHING)


@pytest.mark.skipif(not torch.sys.platform.startswith("linux"), reason="Linux's overcommitment")
def test_memory_that_is_not_there_is_an_error_and_not_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("MorseCore.system.memory.available_memory", lambda: GIB // 2)
    monkeypatch.setattr("MorseCore.system.memory._meminfo", lambda name: 0)
    with memory_limited(CPU, NOTHING), memory_limited(CPU, NOTHING):
        torch.empty(GIB // 4, dtype=torch.uint8)
        with pytest.raises(RuntimeError, match="allocate memory") as caught:
            torch.empty(GIB, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    torch.empty(GIB, dtype=torch.uint8)  # afterwards all is as before
    with memory_limited(CPU, Acceptance(["memory"])):
        torch.empty(GIB, dtype=torch.uint8)


def test_what_torch_says_of_the_first_step_is_a_sentence(tmp_path) -> None:
    head = {"name": "moe", "preset": "custom", "width": 8, "gate_stride": 64, "gate_depth": 2}
    config = run_config(
        network={"spatial_dims": 3, "backbone": BACKBONES["unet3d"], "head": head},
        optimisation={"batch_size": 1, "iterations": 2},
    )
    trainer = make_trainer(config, tmp_path, train=phantom_cases(1))
    with pytest.raises(ConfigError, match=r"cannot be trained with these sizes.*more than 1 value"):
        trainer.run()


def test_what_goes_wrong_later_is_not_blamed_on_the_sizes(tmp_path, monkeypatch) -> None:
    trainer = make_trainer(flat_config(), tmp_path, train=phantom_cases(1, dims=2))
    step = trainer._stepper.step

    def fail_later(number: int, *args: object, **options: object) -> object:
        if number == 2:
            raise RuntimeError("the disk caught fire")
        return step(number, *args, **options)

    monkeypatch.setattr(trainer._stepper, "step", fail_later)
    with pytest.raises(RuntimeError, match="caught fire"):
        trainer.run()
