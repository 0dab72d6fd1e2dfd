"""``python -m MorseCore``: see :mod:`MorseCore.commands.cli`."""

import sys

if __name__ == "__main__":
    try:
        from MorseCore.commands.cli import main
    except ModuleNotFoundError as error:
        sys.exit(
            f"{type(error).__name__}: {error}\n"  # for the module, which looks for it
            f"error: This Python ({sys.executable}) lacks the package '{error.name}'; use the one "
            "of the environment in which MorseCore was installed."
        )
    sys.exit(main())
