# Polarized Self-Attention put into a trained DeepLabV3+, where it starts as the identity.
_base_ = ["./baseline_finetune_deeplabv3plus_cityscapes.py"]

attention = dict(type="PolarizedSelfAttention", init="identity")
model = dict(decode_head=dict(type="PolarizedASPPHead", attention=attention))
