"""MorseCore: segmentation by implicit rendering of uncertain points, without Slicer.

``import MorseCore`` imports neither torch nor MONAI.
"""

__version__ = "0.1.0"
