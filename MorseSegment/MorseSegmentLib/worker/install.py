"""What the computation needs, what of it is missing, and how it is installed. No Qt.

torch comes from Slicer's PyTorch extension, which knows the build for the graphics card; all else
from Slicer's own package installer. Nothing is installed before a person has agreed.
"""

import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass

import slicer

from MorseCore.errors import MorseError
from MorseCore.service.failures import INTERPRETER
from MorseSegmentLib.worker.catalog import Catalog

__all__ = [
    "REQUIREMENTS",
    "Requirement",
    "consentText",
    "install",
    "missing",
    "report",
    "statusText",
]


@dataclass(frozen=True)
class Requirement:
    """A package that the worker imports."""

    name: str
    """Of the package and of its module."""
    versions: str
    size: str
    """About how much is downloaded, for a person."""


REQUIREMENTS = (
    Requirement("numpy", ">=1.26,<3", "20 MB"),
    Requirement("scipy", ">=1.12", "40 MB"),
    Requirement("SimpleITK", ">=2.3", "50 MB"),
    Requirement("pydicom", ">=2.4", "2 MB"),
    Requirement("safetensors", ">=0.5", "1 MB"),
    Requirement("tqdm", ">=4.66", "1 MB"),
    Requirement("filelock", ">=3.12", "1 MB"),
    Requirement("torch", ">=2.10,<3", "200 MB for the CPU, 3 GB for a GPU"),
)


def missing() -> list[Requirement]:
    """What this Python lacks, or has in another version; looked up without importing anything.

    Nothing if another Python computes, of which only its worker knows what it has.
    """
    if os.environ.get(INTERPRETER):
        return []
    return [
        item for item in REQUIREMENTS
        if importlib.util.find_spec(item.name) is None or _isOfAnotherVersion(item)
    ]  # fmt: skip


def _isOfAnotherVersion(item: Requirement) -> bool:
    """Whether a package is too old or too new; one that does not say is taken as it is."""
    try:
        # None if an installation was interrupted
        found = _numbers(importlib.metadata.version(item.name) or "")
    except importlib.metadata.PackageNotFoundError:
        found = ()
    if not found:
        return False
    for clause in item.versions.split(","):
        bound = _numbers(clause)
        if (clause.startswith(">=") and found < bound) or (clause[0] == "<" and found >= bound):
            return True
    return False


def _numbers(version: str) -> tuple[int, ...]:
    """``>=2.10`` or ``2.10.1+cu128`` as (2, 10) and (2, 10, 1), which can be compared."""
    match = re.search(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def consentText(packages: Sequence[Requirement]) -> str:
    """The question before an installation: what, how much, and where to."""
    lines = [f"{item.name} {item.versions} (about {item.size})" for item in packages]
    return (
        "To compute, MorseSegment needs these Python packages, which would be downloaded:\n\n"
        + "\n".join(lines)
        + f"\n\nThey are installed into Slicer's own Python: {sysconfig.get_path('purelib')}\n\n"
        "Slicer does not answer meanwhile, for some minutes."
    )


def install(packages: Sequence[Requirement]) -> None:
    """Install packages; to be called after a person has agreed.

    :raises MorseError: if Slicer lacks what installs torch, or there is none for this Slicer.
    """
    if any(item.name == "torch" for item in packages):
        _installTorch(next(item.versions for item in packages if item.name == "torch"))
    others = [f"{item.name}{item.versions}" for item in packages if item.name != "torch"]
    if others:
        import slicer.packaging

        slicer.packaging.pip_install(others)


def _installTorch(versions: str) -> None:
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        # Slicer for macOS, on Apple's own processors too.
        raise MorseError(
            "This Slicer is a program for Macs with Intel processors, for which torch ended with "
            f"version 2.2, and MorseSegment needs torch {versions}. Install MorseCore in another "
            f"Python (README, macOS) and name that in the environment variable {INTERPRETER}."
        )
    try:
        import PyTorchUtils
    except ModuleNotFoundError:
        raise MorseError(
            "Slicer's PyTorch extension is missing, which installs the right torch for this "
            "computer; install it in the Extensions Manager and restart Slicer."
        ) from None
    logic = PyTorchUtils.PyTorchUtilsLogic()
    if logic.installTorch(askConfirmation=False, torchVersionRequirement=versions) is None:
        raise MorseError("torch could not be installed; the Python console says why.")


def statusText(catalog: Catalog) -> str:
    """What there is to compute with, for the status row: versions, driver, devices with memory."""
    versions = dict(catalog.versions)
    gpus = [title for name, title in catalog.devices if name.startswith("cuda")]
    others = [title for name, title in catalog.devices if name == "cpu"]
    return "\n".join(
        [
            f"Slicer {_slicerVersion()}, MorseSegment {versions.get('MorseSegment', 'unknown')}",
            f"torch {versions.get('torch', 'unknown')}, CUDA {versions.get('cuda', 'unknown')}",
            *(f"GPU: {title}" for title in gpus or ["none that torch can use"]),
            f"Graphics driver: {versions.get('driver', 'unknown')}",
            *others,
        ]
    )


def _slicerVersion() -> str:
    return str(getattr(slicer.app, "applicationVersion", "unknown"))


def report(catalog: Catalog, problem: str, log: str) -> str:
    """Text for a report of a problem; nothing in it names a person or a scan."""
    lines = [f"Slicer: {_slicerVersion()}", f"Slicer's Python: {platform.python_version()}"]
    lines += [f"{name}: {text}" for name, text in catalog.versions]
    lines += [f"Device {name}: {title}" for name, title in catalog.devices]
    lines += [f"Needed package: {item.name} {item.versions}" for item in missing()]
    lines += [f"Problem: {problem}"] if problem else []
    return "\n".join([*lines, "", log]).strip() + "\n"
