"""Plan, train and predict with nnU-Net v2 in prepared folders, on a CPU.

    python Training/research/benchmarks/peer_nnunet_training.py HOME STEPS

Runs under the Python that has nnunetv2, which needs nothing of this repository; ``accuracy.py``
prepares ``HOME/raw/Dataset004_*`` (images, labels, ``dataset.json``, ``splits_final.json``) and
reads ``HOME/predicted``. Plan, preprocessing, augmentation, loss, optimiser and mirroring at
inference are nnU-Net's own. Three things differ from ``nnUNetv2_train``: the number of steps, to
which its decay of the learning rate is fitted; fewer validation batches between them, of which
nothing depends; and bf16 where the CPU has AMX, as our own trainings have it there (the loss stays
in float32). After an interruption it continues from the last whole epoch of 30 steps.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

CONFIGURATION = "3d_fullres"
STEPS_IN_EPOCH = 30
VALIDATION_BATCHES = 2


def main(home: Path, steps: int) -> None:
    """Everything that is not there yet; prints minutes, steps, windows a step and parameters."""
    answer, sys.stdout = sys.stdout, sys.stderr  # what nnU-Net says is for the person who waits
    os.environ.update(
        nnUNet_raw=str(home / "raw"), nnUNet_preprocessed=str(home / "preprocessed"),
        nnUNet_results=str(home / "results"), nnUNet_n_proc_DA="1",
    )  # fmt: skip
    dataset = next((home / "raw").glob("Dataset*"))
    plans = plan(home, dataset)
    trainer = train(home, dataset, plans=plans, steps=steps)
    predict(trainer, dataset / "imagesTs", home / "predicted")
    parameters = sum(p.numel() for p in trainer.network.parameters())
    print(json.dumps({
        "minutes": json.loads((home / "minutes.json").read_text()), "parameters": parameters,
        "steps": trainer.num_epochs * trainer.num_iterations_per_epoch,
        "batch": trainer.configuration_manager.batch_size,
    }), file=answer)  # fmt: skip


def plan(home: Path, dataset: Path) -> dict[str, Any]:
    """nnU-Net's fingerprint, plan and preprocessed images."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )

    target = home / "preprocessed" / dataset.name
    if not (target / "done").exists():
        number = int(dataset.name[7:10])
        extract_fingerprints([number], num_processes=1, check_dataset_integrity=True)
        plan_experiments([number])
        preprocess([number], configurations=(CONFIGURATION,), num_processes=[1])
        shutil.copyfile(dataset / "splits_final.json", target / "splits_final.json")
        (target / "done").touch()
    return json.loads((target / "nnUNetPlans.json").read_text())


def train(home: Path, dataset: Path, *, plans: dict[str, Any], steps: int) -> Any:
    """A trainer whose network is trained; minutes of all sessions go into ``minutes.json``."""
    import torch

    # No helper processes for the augmentation; its planner refuses 0.
    os.environ["nnUNet_n_proc_DA"] = "0"  # noqa: SIM112 - nnU-Net spells it so
    known = json.loads((dataset / "dataset.json").read_text())
    torch.manual_seed(1337)
    trainer = make_class(home, steps)(
        plans | {"continue_training": False}, CONFIGURATION, 0, known, torch.device("cpu")
    )
    folder = Path(trainer.output_folder)
    for name in ("checkpoint_final.pth", "checkpoint_latest.pth"):
        if (folder / name).is_file():
            trainer.load_checkpoint(str(folder / name))
            break
    if not (folder / "checkpoint_final.pth").is_file():
        trainer.run_training()
    trainer.network.eval()
    return trainer


def make_class(home: Path, steps: int) -> Any:
    """nnU-Net's trainer with another length, and its forward pass in the CPU's precision."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    narrow = torch.cpu._is_amx_tile_supported()

    class CpuTrainer(nnUNetTrainer):
        def __init__(self, plans, configuration, fold, dataset_json, device):  # type: ignore[no-untyped-def]
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.num_iterations_per_epoch = min(STEPS_IN_EPOCH, steps)
            self.num_val_iterations_per_epoch = VALIDATION_BATCHES
            self.num_epochs = -(-steps // self.num_iterations_per_epoch)
            self.save_every = 1

        def initialize(self) -> None:
            super().initialize()
            loss = self.loss

            def in_float32(outputs: Any, target: Any) -> Any:
                with torch.autocast("cpu", enabled=False):
                    return loss([output.float() for output in outputs], target)

            self.loss = in_float32

        def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
            with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
                return super().train_step(batch)

        def on_epoch_start(self) -> None:
            self.started = time.perf_counter()
            super().on_epoch_start()

        def on_train_epoch_end(self, train_outputs: Any) -> None:
            self.spent = (time.perf_counter() - self.started) / 60
            super().on_train_epoch_end(train_outputs)

        def on_epoch_end(self) -> None:
            path = home / "minutes.json"
            before = json.loads(path.read_text()) if path.exists() else 0.0
            super().on_epoch_end()  # writes the checkpoint that this epoch counts from
            part = path.with_suffix(".part")
            part.write_text(json.dumps(before + self.spent))
            part.replace(path)

        def save_checkpoint(self, filename: str) -> None:
            super().save_checkpoint(f"{filename}.part")  # killed half-way, the last one is whole
            os.replace(f"{filename}.part", filename)

    return CpuTrainer


def predict(trainer: Any, images: Path, target: Path) -> None:
    """nnU-Net's prediction of a folder, mirrored as always; nothing if it is there."""
    if target.is_dir():
        return
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    part = target.with_name(target.name + ".part")
    part.mkdir(exist_ok=True)
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False)
    predictor.manual_initialization(
        trainer.network, trainer.plans_manager, trainer.configuration_manager,
        [trainer.network.state_dict()], trainer.dataset_json, type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )  # fmt: skip
    predictor.predict_from_files_sequential(str(images), str(part))
    part.replace(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
