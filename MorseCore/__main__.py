"""``python -m MorseCore``: see :mod:`MorseCore.commands.cli`."""

import sys

from MorseCore.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
