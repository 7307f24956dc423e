"""Synthetic street scenes in Cityscapes' own layout, drawn by a program: data without a download.

Every evaluated class of Cityscapes occurs, in every colour: a network must learn shapes,
textures and places. The pictures are no substitute for Cityscapes, nor comparable with it.
"""

from .scene import VERSION, Scene, draw_scene
from .writer import prepare

__all__ = ["VERSION", "Scene", "draw_scene", "prepare"]
