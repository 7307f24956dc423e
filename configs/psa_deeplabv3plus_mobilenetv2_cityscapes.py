# MobileNetV2 with Polarized Self-Attention on the ASPP output.
_base_ = ["./baseline_deeplabv3plus_mobilenetv2_cityscapes.py"]

model = dict(decode_head=dict(attention=dict(type="PolarizedSelfAttention")))
