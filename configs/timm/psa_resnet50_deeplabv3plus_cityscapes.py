# timm's ResNet-50 with Polarized Self-Attention in every block.
_base_ = ["./baseline_resnet50_deeplabv3plus_cityscapes.py"]

model = dict(
    backbone=dict(type="PolarizedTIMMBackbone", attention=dict(type="PolarizedSelfAttention"))
)
