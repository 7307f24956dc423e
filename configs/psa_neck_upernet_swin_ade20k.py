# UPerNet on Swin-T with Polarized Self-Attention on the last feature map, before the head.
_base_ = ["./baseline_upernet_swin_ade20k.py"]

model = dict(neck=dict(type="PolarizedNeck", in_channels=[96, 192, 384, 768], levels=[3]))
