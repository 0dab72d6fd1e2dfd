"""Runs a script as `Slicer --python-script` would.

python slicer_process.py SCRIPT ARGS..., with the repository and MorseSegment on PYTHONPATH.
"""

import runpy
import sys

from MorseSegmentPictures.bootstrap import startSlicer

if __name__ == "__main__":
    startSlicer()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
