"""SwIPE: implicit patch embeddings (MICCAI 2023). One part of the method a file."""

from MorseCore.heads.swipe.head import SwipeConfig, SwipeHead

__all__ = ["SwipeConfig", "SwipeHead"]
