"""``python -m MorseCore``: see :mod:`MorseCore.commands.cli`."""

import sys

from MorseCore.errors import lacking

if __name__ == "__main__":
    try:
        from MorseCore.commands.cli import main
    except ModuleNotFoundError as error:
        sys.exit(lacking(error))
    sys.exit(main())
