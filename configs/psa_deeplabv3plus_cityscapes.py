# The main configuration: Polarized Self-Attention on the ASPP output of DeepLabV3+.
_base_ = ["./baseline_deeplabv3plus_cityscapes.py"]

model = dict(decode_head=dict(attention=dict(type="PolarizedSelfAttention")))
