"""The training command, in this process."""

import logging

import torch

from training_runs import script


def train(*overrides: str, config: str = "run.json") -> int:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    handlers = list(logging.getLogger().handlers)
    try:
        return script("train").main([config, *overrides])
    finally:
        torch.set_num_threads(threads)
        for handler in set(logging.getLogger().handlers) - set(handlers):
            assert not isinstance(handler, logging.FileHandler), "a log file was left open"
            logging.getLogger().removeHandler(handler)
