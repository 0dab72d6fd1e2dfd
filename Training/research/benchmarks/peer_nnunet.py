"""Make a model folder for nnU-Net v2: its plan for the hippocampus, random weights.

    python Training/research/benchmarks/peer_nnunet.py FOLDER

Runs under the Python that has nnunetv2, which needs nothing of this repository; the prediction is
then nnU-Net's own command, ``nnUNetv2_predict_from_modelfolder``. The plan is the one that
``nnUNetv2_plan_and_preprocess`` makes for MSD Task04 (nnU-Net's default planner: patch 40x56x40,
four stages of 32 to 256 features, two convolutions each).
"""

import json
import sys
from pathlib import Path

STAGES = 4
ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": STAGES, "features_per_stage": [32, 64, 128, 256],
        "conv_op": "torch.nn.modules.conv.Conv3d", "kernel_sizes": [[3, 3, 3]] * STAGES,
        "strides": [[1, 1, 1], *[[2, 2, 2]] * (STAGES - 1)],
        "n_conv_per_stage": [2] * STAGES, "n_conv_per_stage_decoder": [2] * (STAGES - 1),
        "conv_bias": True, "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True}, "dropout_op": None,
        "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}  # fmt: skip
RESAMPLING = {
    "data": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    "seg": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
    "probabilities": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
}
CONFIGURATION = {
    "data_identifier": "nnUNetPlans_3d_fullres", "preprocessor_name": "DefaultPreprocessor",
    "batch_size": 9, "patch_size": [40, 56, 40],
    "median_image_size_in_voxels": [36.0, 50.0, 35.0], "spacing": [1.0, 1.0, 1.0],
    "normalization_schemes": ["ZScoreNormalization"], "use_mask_for_norm": [False],
    **{f"resampling_fn_{name}": "resample_data_or_seg_to_shape" for name in RESAMPLING},
    **{f"resampling_fn_{name}_kwargs": kwargs for name, kwargs in RESAMPLING.items()},
    "architecture": ARCHITECTURE, "batch_dice": False,
}  # fmt: skip
PLANS = {
    "dataset_name": "Dataset004_Hippocampus", "plans_name": "nnUNetPlans",
    "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
    "original_median_shape_after_transp": [36, 50, 35], "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2],
    "configurations": {"3d_fullres": CONFIGURATION},
    "experiment_planner_used": "ExperimentPlanner", "label_manager": "LabelManager",
    "foreground_intensity_properties_per_channel": {"0": dict.fromkeys(
        ("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 1.0)},
}  # fmt: skip
DATASET = {
    "channel_names": {"0": "MRI"}, "labels": {"background": 0, "Anterior": 1, "Posterior": 2},
    "numTraining": 1, "file_ending": ".nii.gz",
}  # fmt: skip


def main(folder: Path) -> None:
    """Write ``dataset.json``, ``plans.json`` and the checkpoint of fold 0."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    torch.manual_seed(0)
    network = get_network_from_plans(
        ARCHITECTURE["network_class_name"], ARCHITECTURE["arch_kwargs"],
        ARCHITECTURE["_kw_requires_import"], 1, 3, deep_supervision=False,
    )  # fmt: skip
    (folder / "fold_0").mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps(DATASET))
    (folder / "plans.json").write_text(json.dumps(PLANS))
    torch.save(
        {
            "network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": "3d_fullres"},
            "inference_allowed_mirroring_axes": (0, 1, 2),
        },
        folder / "fold_0" / "checkpoint_final.pth",
    )  # fmt: skip
    print(sum(p.numel() for p in network.parameters()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
