# ResNetV1c-18 with Polarized Self-Attention on the ASPP output.
_base_ = ["./baseline_deeplabv3plus_r18_cityscapes.py"]

attention = dict(type="PolarizedSelfAttention")
model = dict(decode_head=dict(type="PolarizedASPPHead", attention=attention))
