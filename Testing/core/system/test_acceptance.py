"""Refusals that a person overrules by name."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from MorseCore.errors import ConfigError, GeometryError
from MorseCore.images.imageio import ReadOptions, read_volume
from MorseCore.system.acceptance import Acceptance


def mirrored_file(folder: Path) -> Path:
    """A NIfTI file whose sform mirrors its qform."""
    path = folder / "mirrored.nii"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ones((3, 4, 5), np.float32)), str(path))
    raw = bytearray(path.read_bytes())
    first = np.frombuffer(raw, "<f4", 4, 280)
    raw[280:296] = (first * np.float32([-1, -1, -1, 1])).tobytes()
    path.write_bytes(raw)
    return path


def test_a_refusal_says_how_to_overrule_it(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="--accept mirrored-position"):
        read_volume(mirrored_file(tmp_path))


def test_an_accepted_refusal_is_a_note_on_the_volume(tmp_path: Path) -> None:
    options = ReadOptions(accepted=Acceptance(["mirrored-position"]))
    volume = read_volume(mirrored_file(tmp_path), options)
    assert "accepted: mirrored-position" in volume.notes[0]


def test_an_unknown_name_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(ConfigError, match="mirrored-position"):
        Acceptance(["mirored-position"])
