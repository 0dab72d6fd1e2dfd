"""Write a small data set of phantoms, on which training can be tried in a minute.

python Training/research/make_phantoms.py runs/phantoms            volumes
python Training/research/make_phantoms.py runs/phantoms-2d --2d    slices
python Training/train.py Training/configs/phantom-tiny.json
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout, not installed

from MorseCore.training.phantoms import write_phantom_dataset
from Training.research.shared.commandline import command_line, exit_code


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: written; 1: the folder cannot be written."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--2d", dest="flat", action="store_true", help="slices instead of volumes")
    options = parser.parse_args(arguments)
    sizes = {"cases": (96, 8, 8), "shape": (48, 48)} if options.flat else {}
    return exit_code(lambda: print(write_phantom_dataset(options.folder, **sizes)))


if __name__ == "__main__":
    sys.exit(main())
