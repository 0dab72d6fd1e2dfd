"""What the worker says of its machine: devices with free memory, versions, models."""

import platform
from math import prod
from typing import Any

import torch

from MorseCore import __version__
from MorseCore.errors import MorseError
from MorseCore.store.library import list_models
from MorseCore.store.model_folder import ModelInfo, read_model
from MorseCore.system.devices import gpu_driver, has_gpu, resolve_device
from MorseCore.system.memory import available_memory, physical_memory

__all__ = ["describe_devices", "describe_models", "describe_versions"]


def describe_devices() -> list[dict[str, str]]:
    """``auto`` first, then each GPU by name and free memory, then the CPU with the computer's."""
    gpus = []
    for n in range(torch.cuda.device_count() if has_gpu() else 0):
        name = torch.cuda.get_device_name(n)
        try:
            free, total = torch.cuda.mem_get_info(n)
            title = f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        except RuntimeError:  # full, or taken by another program
            title = f"{name}, in use or unusable"
        gpus.append({"id": f"cuda:{n}", "title": title})
    cpu = {"id": "cpu", "title": f"CPU, {torch.get_num_threads()} threads, {_main_memory()}"}
    chosen = str(resolve_device("auto"))
    auto = {"id": "auto", "title": f"Auto ({chosen})"}
    return [auto, *gpus, cpu]


def describe_models() -> list[dict[str, Any]]:
    """Every model with what a person chooses by; a broken one says so instead."""
    models = []
    for name, folder in list_models().items():
        entry: dict[str, Any] = {"name": name, "folder": str(folder)}
        try:
            info = read_model(folder)
        except MorseError as error:
            models.append({**entry, "broken": str(error)})
            continue
        models.append(
            {
                **entry,
                "title": info.title,
                "task": info.task,
                "modality": info.modality,
                "spatial_dims": info.preparation.spatial_dims,
                "structures": [structure.name for structure in info.structures],
                "points": _points(info),
                "passes": getattr(info.renderer, "passes", None),
                "leaves_certain": bool(getattr(info.renderer, "certain_margin", 0)),
                "asks_scan": info.asks_scan,
                "window": list(info.preparation.window_size),
                "finds_place": info.locator is not None,
                "channels": info.channels,
                "spacing": info.preparation.spacing,
                "overlap": info.windows.overlap,
                "field_of_view": info.field_of_view,
                "licence": info.licence,
            }
        )
    return models


def _points(info: ModelInfo) -> int | None:
    """Points a window and pass; None if the model's renderer has no such number."""
    renderer = info.renderer
    if hasattr(renderer, "points_of"):  # it may be a share of the window
        return int(renderer.points_of(prod(info.grid_window)))
    return getattr(renderer, "points", None)


def describe_versions() -> dict[str, str]:
    """Of what a report of a problem needs."""
    return {
        "MorseSegment": __version__,
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "driver": gpu_driver(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _main_memory() -> str:
    free, total = available_memory(), physical_memory()
    if total is None:
        return "memory unknown"
    if free is None:
        return f"{total / 2**30:.1f} GiB of memory"
    return f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
