"""Starts MorseCore's worker, wherever the extension is installed: run it by its absolute path.

With arguments it runs that command instead, as ``python -m MorseCore`` would.
"""

import sys
from pathlib import Path


def main() -> int:
    """Serve stdin and stdout; see MorseCore/service/protocol.py."""
    # Installed, MorseCore lies beside Scripts/; in the source tree, a folder further up.
    module = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(module), str(module.parent)]
    if len(sys.argv) > 1:
        from MorseCore.commands.cli import main as run

        return run(sys.argv[1:])
    from MorseCore.service.worker import main as serve

    return serve()


if __name__ == "__main__":
    sys.exit(main())
