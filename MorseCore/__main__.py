"""``python -m MorseCore``: see :mod:`MorseCore.cli`."""

import sys

from MorseCore.cli import main

if __name__ == "__main__":
    sys.exit(main())
