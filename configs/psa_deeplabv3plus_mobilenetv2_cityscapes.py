# MobileNetV2 with Polarized Self-Attention on the ASPP output.
_base_ = ["./baseline_deeplabv3plus_mobilenetv2_cityscapes.py"]

attention = dict(type="PolarizedSelfAttention")
model = dict(decode_head=dict(type="PolarizedASPPHead", attention=attention))
