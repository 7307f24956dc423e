# After the 3x3 convolution of every bottleneck: the placement of the paper.
_base_ = ["./baseline_deeplabv3plus_cityscapes.py"]

attention = dict(type="PolarizedSelfAttention")
plugins = [dict(cfg=attention, stages=(True, True, True, True), position="after_conv2")]
model = dict(backbone=dict(plugins=plugins))
