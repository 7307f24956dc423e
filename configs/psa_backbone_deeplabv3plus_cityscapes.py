# After the 3x3 convolution of every bottleneck: the placement of the paper.
_base_ = ["./baseline_deeplabv3plus_cityscapes.py"]

attention = dict(type="PolarizedSelfAttention")
model = dict(backbone=dict(type="PolarizedResNetV1c", attention=attention))
