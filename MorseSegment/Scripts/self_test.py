"""Run the module's own tests in Slicer: the shipped model, the real worker, no network.

Slicer --testing --no-splash --no-main-window --additional-module-path MorseSegment \
    --python-script MorseSegment/Scripts/self_test.py

With --testing, Slicer ends when the script does, and nothing waits for a click. Exit codes:
0 all tests passed, 1 some failed or could not be run.
"""

import sys

__all__ = ["main"]


def main() -> int:
    """Run all tests; returns the exit code."""
    import slicer

    if not hasattr(slicer.modules, "morsesegment"):
        print(
            "error: Slicer has not loaded the module; name its folder: "
            "--additional-module-path MorseSegment",
            file=sys.stderr,
        )
        return 1
    from MorseSegmentLib.selftests import runTests  # Slicer knows where, as of the module

    result = runTests()
    for _test, reason in result.skipped:
        print(reason, file=sys.stderr)
    return 0 if result.wasSuccessful() and result.testsRun and not result.skipped else 1


if __name__ == "__main__":
    sys.exit(main())
