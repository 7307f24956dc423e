# U-Net with Polarized Self-Attention on the head's map, before the classifier.
_base_ = ["./baseline_unet_cityscapes.py"]

attention = dict(type="PolarizedSelfAttention")
model = dict(decode_head=dict(type="PolarizedFCNHead", attention=attention))
