# PASCAL VOC 2012 with Polarized Self-Attention on the ASPP output.
_base_ = ["./baseline_deeplabv3plus_voc12aug.py"]

attention = dict(type="PolarizedSelfAttention")
model = dict(decode_head=dict(type="PolarizedASPPHead", attention=attention))
