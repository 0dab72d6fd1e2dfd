"""What an image's files hold: two images of one name may be of two persons."""

from pathlib import Path

from MorseCore.system.files import sha256

__all__ = ["DETACHED", "input_hashes"]

DETACHED = (".nhdr", ".mhd")  # headers whose voxels lie in a file beside them


def input_hashes(path: Path) -> list[list[str]]:
    """Name and SHA-256 of every file that a case is read from.

    :raises OSError: if one cannot be read.
    """
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    elif path.name.lower().endswith(DETACHED):
        files = sorted(p for p in path.parent.iterdir() if p.is_file() and p.stem == path.stem)
    return [[file.name, sha256(file)] for file in files]
