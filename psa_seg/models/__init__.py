"""MMSegmentation's view of the attentions: importing this package registers them."""

import psa_seg.registry  # noqa: F401  registers the attentions themselves
from psa_seg.models.attentions import GlobalContext, NonLocal, SqueezeExcitation
from psa_seg.models.backbones import (
    PolarizedHRNet,
    PolarizedMobileNetV2,
    PolarizedResNet,
    PolarizedResNetV1c,
    PolarizedResNetV1d,
    PolarizedResNeXt,
    PolarizedTIMMBackbone,
)
from psa_seg.models.decode_heads import PolarizedASPPHead, PolarizedFCNHead, PolarizedUPerHead
from psa_seg.models.necks import PolarizedNeck
from psa_seg.models.segmentors import LeanCascadeEncoderDecoder, LeanEncoderDecoder, LeanTTAModel

__all__ = [
    "GlobalContext",
    "LeanCascadeEncoderDecoder",
    "LeanEncoderDecoder",
    "LeanTTAModel",
    "NonLocal",
    "PolarizedASPPHead",
    "PolarizedFCNHead",
    "PolarizedHRNet",
    "PolarizedMobileNetV2",
    "PolarizedNeck",
    "PolarizedResNeXt",
    "PolarizedResNet",
    "PolarizedResNetV1c",
    "PolarizedResNetV1d",
    "PolarizedTIMMBackbone",
    "PolarizedUPerHead",
    "SqueezeExcitation",
]
