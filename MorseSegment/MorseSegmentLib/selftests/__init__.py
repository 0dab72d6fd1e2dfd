"""Tests that run inside Slicer: the shipped model `phantom-tiny`, phantoms, the real worker."""

import sys
import unittest

from MorseSegmentLib.selftests.results import AfterRunTests, ResultTests
from MorseSegmentLib.selftests.runs import RunTests

__all__ = ["TESTS", "runTests"]

TESTS: tuple[type[unittest.TestCase], ...] = (ResultTests, RunTests, AfterRunTests)


def runTests() -> unittest.TestResult:
    """Run every test, with a line for each on stdout."""
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    suite = unittest.TestSuite(load(owner) for owner in TESTS)
    return unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
