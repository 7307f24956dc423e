"""Registers the attentions in mmengine's root registry.

Every OpenMMLab library falls back to that registry, so MMSegmentation, MMDetection, MMPose and
MMPreTrain find them by the same name.
"""

from mmengine.registry import MODELS

from psa_seg import attention

for name in attention.__all__:
    MODELS.register_module(module=getattr(attention, name))
