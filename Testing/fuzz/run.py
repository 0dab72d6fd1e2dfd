"""Spoil image files at random and see what the reader makes of them.

    python Testing/fuzz/run.py --cases 1000 --seed 1

Each file is read in a process of its own that is ended after a few seconds. Exit code 0: every file
was read as before, or refused in one sentence.

====================  ==========================================================================
outcome               what happened
====================  ==========================================================================
same                  the voxels and their places are as before
refused               one sentence
other                 read with other values; a flipped bit in plain voxels cannot be noticed
*wrong in silence*    only cut off or added to, and yet other values came out
*traceback*           an error that is not ours
*crash*, *hang*       the process ended by itself, or did not end
====================  ==========================================================================
"""

import argparse
import multiprocessing
import sys
import tempfile
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parents[1]), str(_HERE.parent / "helpers"), str(_HERE)]

import numpy as np
from mutations import FORMATS, MUTATIONS, write_seed
from tqdm import tqdm

from MorseCore.errors import MorseError
from MorseCore.images.imageio import read_volume

BAD = ("wrong in silence", "traceback", "crash", "hang")
PATIENCE = 10.0  # seconds for a file of a few hundred bytes


class Reader:
    """A process that reads one file after the other; begun anew when it is gone."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._begin()

    def read(self, path: Path) -> tuple[str, object]:
        """What became of a file: ``read``, ``refused``, ``traceback``, ``crash`` or ``hang``."""
        self._pipe.send(str(path))
        try:
            if self._pipe.poll(PATIENCE):
                answer: tuple[str, object] = self._pipe.recv()
                return answer
            outcome = "hang"
        except EOFError:
            outcome = "crash"
        self.close()
        self._begin()
        return outcome, None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _begin(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()


def _serve(pipe: Connection) -> None:
    while True:
        try:
            path = pipe.recv()
        except EOFError:
            return
        try:
            volume = read_volume(Path(path))
            pipe.send(("read", (volume.array, volume.geometry.ijk_to_ras)))
        except MorseError as error:
            text = str(error)
            is_sentence = "\n" not in text and text.endswith((".", "?"))
            pipe.send(("refused" if is_sentence else "traceback", text))
        except Exception as error:
            pipe.send(("traceback", f"{type(error).__name__}: {error}"))


def judge(outcome: str, found: object, expected: object, *, keeps_voxels: bool) -> str:
    """The outcome's name in the table."""
    if outcome != "read":
        return outcome
    same = all(
        a.shape == b.shape and np.array_equal(a, b)
        for a, b in zip(found, expected, strict=True)  # type: ignore[call-overload]
    )
    return "same" if same else "wrong in silence" if keeps_voxels else "other"


def fuzz(cases: int, seed: int, *, keep: Path | None = None) -> Counter[tuple[str, str]]:
    """Outcomes by (format, outcome).

    :param keep: where bad files are copied to.
    """
    table: Counter[tuple[str, str]] = Counter()
    reader = Reader()
    try:
        with tempfile.TemporaryDirectory() as temporary:
            for n in tqdm(range(cases), unit="file", disable=None):
                rng = np.random.default_rng([seed, n])
                suffix = FORMATS[n % len(FORMATS)]
                mutation = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
                folder = Path(temporary) / str(n)
                folder.mkdir()
                path = write_seed(folder, suffix, rng)
                target = folder if suffix in ("dcm series", "dcm jpeg") else path
                kind, expected = reader.read(target)
                if kind != "read":
                    raise SystemExit(f"error: the whole {suffix} file was not read: {expected}")
                path.write_bytes(mutation.apply(path.read_bytes(), rng))
                kind, found = reader.read(target)
                outcome = judge(kind, found, expected, keeps_voxels=mutation.keeps_voxels)
                table[suffix, outcome] += 1
                if outcome in BAD:
                    tqdm.write(
                        f"case {n}: {suffix}, {mutation.name}: {outcome} {found or ''}"[:300]
                    )
                    if keep is not None:
                        keep.mkdir(parents=True, exist_ok=True)
                        (keep / f"{seed}-{n}{path.suffix}").write_bytes(path.read_bytes())
    finally:
        reader.close()
    return table


def format_table(table: Counter[tuple[str, str]]) -> str:
    """Formats down, outcomes across."""
    outcomes = ["same", "refused", "other", *BAD]
    rows = ["| format | " + " | ".join(outcomes) + " |", "|---" * (len(outcomes) + 1) + "|"]
    for suffix in FORMATS:
        rows.append(f"| {suffix} | " + " | ".join(str(table[suffix, o]) for o in outcomes) + " |")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    """0: nothing bad; 1: something; the table says what."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=1000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="copy bad files there")
    options = parser.parse_args(arguments)
    table = fuzz(options.cases, options.seed, keep=options.keep)
    print(f"seed {options.seed}, {options.cases} files\n{format_table(table)}")
    return int(any(table[suffix, outcome] for suffix in FORMATS for outcome in BAD))


if __name__ == "__main__":
    sys.exit(main())
