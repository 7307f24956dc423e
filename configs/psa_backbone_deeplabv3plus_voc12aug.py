# PASCAL VOC 2012 with the placement of the paper, whose own table is on this data.
_base_ = ["./baseline_deeplabv3plus_voc12aug.py"]

attention = dict(type="PolarizedSelfAttention")
plugins = [dict(cfg=attention, stages=(True, True, True, True), position="after_conv2")]
model = dict(backbone=dict(plugins=plugins))
