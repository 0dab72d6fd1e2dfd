"""Bring a public data set that you downloaded to the Decathlon layout that train.py reads.

    python Training/convert.py --list
    python Training/convert.py synapse ~/Downloads/RawData/Training data/synapse
    python Training/convert.py kvasir-sessile ~/Downloads/sessile-main-Kvasir-SEG data/sessile
    python Training/convert.py cvc-clinicdb ~/Downloads/CVC-ClinicDB/PNG data/cvc

Nothing is downloaded and nothing in the source folder is changed. The output folder gets
``images``, ``labels``, ``dataset.json``, ``splits.json`` (by subject; the data set's own split
where it has one) and ``cases.csv``. Colour images become grey: the networks take one channel.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, not installed

from MorseCore.config import nearest
from MorseCore.errors import ConfigError
from Training.conversion.layout import write_dataset
from Training.conversion.sources import SOURCES
from Training.research.shared.commandline import command_line, exit_code


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: written; 1: failed; 2: wrong usage."""
    parser = command_line(__doc__)
    parser.add_argument("dataset", nargs="?", help=" | ".join(SOURCES))
    parser.add_argument("folder", nargs="?", type=Path, help="as downloaded and unpacked")
    parser.add_argument("output", nargs="?", type=Path)
    parser.add_argument("--list", action="store_true", help="say which data sets are known")
    parser.add_argument("--seed", type=int, default=0, help="of the split, where it is drawn")
    options = parser.parse_args(arguments)
    if options.list:
        for name, source in SOURCES.items():
            print(f"{name:15} {source.title}; expects {source.expected}")
        return 0
    if options.output is None:
        parser.error("name a data set, its folder and the folder to write; --list says which")
    return exit_code(lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Convert.

    :raises ConfigError: if the data set is not known, or the seed is none.
    """
    if options.dataset not in SOURCES:
        hint = nearest(options.dataset, SOURCES)
        raise ConfigError(f"There is no data set '{options.dataset}'{hint}; --list says which.")
    if options.seed < 0:
        raise ConfigError(f"'--seed' must not be negative; found {options.seed}.")
    source = SOURCES[options.dataset]
    print(write_dataset(source, options.folder, options.output, seed=options.seed))


if __name__ == "__main__":
    sys.exit(main())
