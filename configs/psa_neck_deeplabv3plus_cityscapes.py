# Polarized Self-Attention on the last feature map, between backbone and heads.
_base_ = ["./baseline_deeplabv3plus_cityscapes.py"]

model = dict(neck=dict(type="PolarizedNeck", in_channels=[256, 512, 1024, 2048], levels=[3]))
