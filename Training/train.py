"""Train a model on scans with labels, or on label maps alone; ``morsesegment train`` is the same.

    python Training/train.py Training/configs/hippocampus-t1.json
    python Training/train.py CONFIG optimisation.iterations=3000 device=cuda:0
    python Training/train.py Training/configs/brain-mr.json output=../runs
    torchrun --nproc-per-node 4 Training/train.py CONFIG
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-endpoint HOST:29500 Training/train.py CONFIG

Writes ``<output>/<name>/``: checkpoints, ``metrics.jsonl``, TensorBoard curves, ``train.log``,
``worst.png`` of the last validation, and at the end ``curves.png``, the model folder ``model`` and
``figures.json``. Run it again after an interruption: it continues where it stopped, on a CPU bit
for bit. Ctrl-C or SIGTERM finish the step and save first. With several machines the output folder
must be on a disk that all of them share.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, not installed

from MorseCore.commands.train import add_arguments, train_as_asked


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: finished; 1: failed or stopped; 2: a faulty configuration."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    return train_as_asked("python Training/train.py", parser.parse_intermixed_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
