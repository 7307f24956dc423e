# UPerNet on Swin-T with Polarized Self-Attention on the fused map, before the classifier.
_base_ = ["./baseline_upernet_swin_ade20k.py"]

attention = dict(type="PolarizedSelfAttention")
model = dict(decode_head=dict(type="PolarizedUPerHead", attention=attention))
