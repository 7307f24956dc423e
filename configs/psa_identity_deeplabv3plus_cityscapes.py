# Polarized Self-Attention put into a trained DeepLabV3+, where it starts as the identity.
_base_ = ["./baseline_finetune_deeplabv3plus_cityscapes.py"]

model = dict(
    decode_head=dict(attention=dict(type="PolarizedSelfAttention", init="identity")),
)
