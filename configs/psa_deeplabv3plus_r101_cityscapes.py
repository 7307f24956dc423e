# ResNetV1c-101 with Polarized Self-Attention on the ASPP output.
_base_ = ["./baseline_deeplabv3plus_r101_cityscapes.py"]

attention = dict(type="PolarizedSelfAttention")
model = dict(decode_head=dict(type="PolarizedASPPHead", attention=attention))
