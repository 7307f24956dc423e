"""Registers the attentions in mmengine's root registry.

Every OpenMMLab library falls back to that registry, so MMSegmentation, MMDetection, MMPose and
MMPreTrain find them by the same name.
"""

from typing import Any

from mmengine.registry import MODELS

from psa_seg import attention

for name in attention.__all__:
    MODELS.register_module(module=getattr(attention, name))


def name_of(kind: Any) -> str:
    """Name of a type in a config, without that of its library; empty if there is none."""
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    return name.rpartition(".")[2]
