"""Grids in all positions, and a ball that is known in each."""

import numpy as np
import torch

from MorseCore.geometry import Geometry

SHAPE = (3, 4, 5)  # K, J, I: all different, so that no two axes can be mistaken


def turned(degrees: float, axis: int) -> np.ndarray:
    a, b = (n for n in range(3) if n != axis)
    angle = np.radians(degrees)
    matrix = np.eye(4)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def centred(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], turn: np.ndarray
) -> Geometry:
    """A grid whose middle is RAS (5, -7, 11)."""
    matrix = turn @ np.diag([*spacing, 1.0])
    middle = (np.array(shape[::-1]) - 1) / 2
    matrix[:3, 3] = np.array([5.0, -7.0, 11.0]) - matrix[:3, :3] @ middle
    return Geometry(shape, matrix)


def positions(geometry: Geometry) -> np.ndarray:
    """(K, J, I, 3) RAS mm of all voxel centres."""
    k, j, i = np.meshgrid(*map(np.arange, geometry.shape), indexing="ij")
    return geometry.to_world(np.stack([i, j, k], axis=-1))


def ball(geometry: Geometry, radius: float) -> np.ndarray:
    """Soft ball about RAS (5, -7, 11): 1 inside, 0 outside, a ramp of 3 mm."""
    distance = np.linalg.norm(positions(geometry) - (5, -7, 11), axis=-1)
    return np.clip((radius - distance) / 3 + 0.5, 0, 1).astype(np.float32)


def one_hot(labels: np.ndarray, classes: int) -> torch.Tensor:
    return torch.from_numpy(np.eye(classes, dtype=np.float32)[labels].transpose(3, 0, 1, 2).copy())
