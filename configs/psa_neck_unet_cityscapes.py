# U-Net with Polarized Self-Attention on the last decoder map, which the decode head reads.
_base_ = ["./baseline_unet_cityscapes.py"]

model = dict(neck=dict(type="PolarizedNeck", in_channels=[1024, 512, 256, 128, 64], levels=[4]))
