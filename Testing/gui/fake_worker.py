"""Speaks the worker's protocol without computing; the requested model says how to behave."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseCore.service.exchange import save_segmentation

SECOND = " the second"
"""Ends the name of a model that is quick with the first image."""
MODELS = (
    "quick", "slow", "deaf", "dies", "out of memory", "refuses", "doubts", "slow from the second",
    "refuses the second", "finds",
)  # fmt: skip

lock = threading.Lock()
cancelled: set[int] = set()
asked: list[str] = []


def send(**event: Any) -> None:
    with lock:
        sys.stdout.write(json.dumps(event, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def segment(request: dict[str, Any]) -> None:
    number, model = request["id"], request["model"]
    if model.endswith(SECOND):
        model = model.removesuffix(SECOND).removesuffix(" from") if asked else "quick"
        asked.append(model)
    send(event="log", level="info", message=str(os.getpid()))
    send(
        event="progress", id=number, stage="netwörk", percent=12.5, seconds_left=None,
        memory=3 << 30,
    )  # fmt: skip
    if model == "noisy":
        print("a library says hello")
        sys.stdout.flush()
    if model == "dies":
        sys.stderr.write("last words\n")
        sys.stderr.flush()
        os._exit(3)
    if model == "out of memory":
        os.kill(os.getpid(), signal.SIGKILL)
    if model == "crashes":
        signal.raise_signal(signal.SIGSEGV)  # of this thread, so that it says no more
    if model == "confused":
        send(event="error", message="The line is no JSON.", detail="", kind="ConfigError")
        os._exit(4)
    if model == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    while model == "slow" and number not in cancelled:
        time.sleep(0.01)
    if number in cancelled:
        send(event="error", id=number, message="Stopped.", detail="", kind="Cancelled")
    elif model == "doubts" and "flat-image" not in request["accept"]:
        send(event="error", id=number, kind="ImageError", detail="where",
             message="Too flat, or take it as it is with --accept flat-image.",
             plain="Too flat.", accept="flat-image")  # fmt: skip
    elif model == "refuses":
        send(event="error", id=number, message="Too dark.", detail="trace", kind="ImageError")
    elif request["image"]:
        send(event="result", id=number, **bright_voxels(request))
    else:
        Path(request["output"], "array.npy").write_text("voxels")
        send(event="result", id=number, arrays={"refined": "array.npy"})


def bright_voxels(request: dict[str, Any]) -> dict[str, Any]:
    """A result: all that is bright is the structure, its brightest voxel was rendered."""
    image = np.load(request["image"])
    geometry = Geometry(image.shape, np.array(request["ijk_to_ras"]))
    refined = (image > 50).astype(np.uint8)
    coarse = np.roll(refined, 1, axis=0)
    k, j, i = np.unravel_index(image.argmax(), image.shape)
    index, one, sure = np.array([[i, j, k]], np.int32), np.ones(1, np.int32), np.ones(1, np.float32)
    position = geometry.to_world(index.astype(float))
    points = RenderedPoints(position, index, sure, 0 * one, one, 0.5 * sure, 0.9 * sure)
    structures = (Structure(1, "Bright", (1.0, 0.8, 0.2)),)
    change = {
        "value": 1, "name": "Bright", "coarse_ml": 1.0, "refined_ml": 1.5, "change_ml": 0.5,
        "added_voxels": 9, "removed_voxels": 9,
        "change_percent": 50.0, "shift_mean_mm": 0.25, "shift_p95_mm": 1.5,
    }  # fmt: skip
    asked = (request.get("points") or 0) * (request.get("passes") or 0)
    report = {
        "windows": 1,
        "points": {"asked": asked, "evaluated": asked // 3},  # the others were certain
        "input": {"segmented_shape_kji": list(image.shape)},
        "seconds": {"prepare": 1.0, "network": 40.0, "restore": 1.0},
        "structures": [change],
        "asked": {k: request.get(k) for k in ("roi", "points", "passes")},
    }
    words = "The volume of Bright is 1.5 ml; at most 1 ml is expected."
    reason = {"structure": "Bright", "signal": "volume", "value": 1.5, "words": words}
    report["verdict"] = {"level": "check", "reasons": [reason], "not_checked": ["stability"]}
    if request["model"] == "finds" and not request.get("roi"):
        box = {"lower": [3, 2, 1], "upper": [8, 7, 6], "frame": "ijk"}
        report["found"] = {"regions": [{"name": "bright thing", "roi": box}]}
    shade = (image / image.max()).astype(np.float32)
    result = Segmentation(geometry, structures, coarse, refined, shade, points, report)
    return save_segmentation(Path(request["output"]), result)


def describe(number: int) -> None:
    entry = {"modality": "CT", "structures": ["Bright"], "points": 100, "passes": 2}
    entry |= {"window": [8, 9, 10], "spacing": None, "overlap": 0.25}
    models = [{"name": name, "title": name, "task": f"Is {name}.", **entry} for name in MODELS]
    models.append({"name": "broken", "folder": "/b", "broken": "The model 'broken' is damaged."})
    devices = [{"id": "auto", "title": "Auto (cpu)"}, {"id": "cpu", "title": "CPU, 1 threads"}]
    send(event="result", id=number, devices=devices, models=models, versions={"torch": "9.9"})


def main() -> None:
    if "no-torch" in sys.argv:
        for piece in ("ModuleNotFoundError", ": No module named 'torch'\n"):  # as pipes do at times
            sys.stderr.write(piece)
            sys.stderr.flush()
            time.sleep(0.2)
        os._exit(1)
    send(event="ready", pid=os.getpid(), version="0")
    for line in sys.stdin:
        request = json.loads(line)
        if request["request"] == "cancel":
            cancelled.add(request["target"])
            send(event="result", id=request["id"], cancelled=True)
        elif request["request"] == "describe":
            describe(request["id"])
        elif request["request"] == "segment":
            threading.Thread(target=segment, args=(request,), daemon=True).start()
    os._exit(0)


if __name__ == "__main__":
    main()
