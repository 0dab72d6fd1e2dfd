"""Write a small data set of phantoms, on which training can be tried in a minute.

python Training/make_phantoms.py runs/phantoms            volumes
python Training/make_phantoms.py runs/phantoms-2d --2d    slices
python Training/train.py Training/configs/phantom-tiny.json
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, not installed

from MorseCore.phantoms import write_phantom_dataset

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--2d", dest="flat", action="store_true", help="slices instead of volumes")
    options = parser.parse_args()
    if options.flat:
        path = write_phantom_dataset(options.folder, cases=(96, 8, 8), shape=(48, 48))
    else:
        path = write_phantom_dataset(options.folder)
    print(path)
