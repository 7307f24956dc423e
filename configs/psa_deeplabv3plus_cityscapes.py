# The main configuration: Polarized Self-Attention on the ASPP output of DeepLabV3+.
_base_ = ["./baseline_deeplabv3plus_cityscapes.py"]

attention = dict(type="PolarizedSelfAttention")
model = dict(decode_head=dict(type="PolarizedASPPHead", attention=attention))
