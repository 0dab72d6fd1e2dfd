"""One process or many; what several do together is tested in test_two_processes.py."""

import pytest
import torch

from MorseCore.errors import ConfigError, DeviceError
from MorseCore.training.distributed import ALONE, World, join_world


def test_without_torchrun_there_is_one_process():
    world = join_world("cpu", environment={})
    assert (world.rank, world.size, world.device) == (0, 1, torch.device("cpu"))
    assert world.is_main


def test_alone_nothing_is_exchanged():
    value = torch.tensor([1.0, 2.0])
    assert ALONE.total(value) is value
    assert torch.equal(ALONE.mean(value), value)
    assert ALONE.any(True)
    assert not ALONE.any(False)
    ALONE.wait()
    ALONE.copy_from_main([value])
    ALONE.leave()


def test_the_processes_share_out_a_list_without_gap_or_overlap():
    items = list(range(7))
    shares = [World(rank, 3, torch.device("cpu")).share_of(items) for rank in range(3)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    "environment",
    [{"RANK": "one"}, {"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "-1"}, {"WORLD_SIZE": ""}],
)
def test_variables_that_make_no_sense_are_refused(environment):
    with pytest.raises(ConfigError, match=r"RANK|WORLD_SIZE"):
        join_world("cpu", environment=environment)


def test_several_processes_cannot_all_take_one_gpu():
    environment = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    with pytest.raises(DeviceError, match="auto, cpu or cuda; not 'cuda:1'"):
        join_world("cuda:1", environment=environment)


def test_an_unknown_device_is_refused():
    with pytest.raises(DeviceError, match="found 'gpu'"):
        join_world("gpu", environment={})


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused_and_not_replaced():
    for environment in ({}, {"RANK": "0", "WORLD_SIZE": "2"}):
        with pytest.raises(DeviceError, match="no CUDA GPU"):
            join_world("cuda", environment=environment)
