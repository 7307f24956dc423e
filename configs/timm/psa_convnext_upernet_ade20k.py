# timm's ConvNeXt-T with Polarized Self-Attention in every block, after its depthwise convolution.
_base_ = ["./baseline_convnext_upernet_ade20k.py"]

model = dict(
    backbone=dict(
        type="PolarizedTIMMBackbone",
        attention=dict(type="PolarizedSelfAttention"),
        blocks=("ConvNeXtBlock",),
        after="conv_dw",
    )
)
