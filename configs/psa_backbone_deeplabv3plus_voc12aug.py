# PASCAL VOC 2012 with the placement of the paper, whose own table is on this data.
_base_ = ["./baseline_deeplabv3plus_voc12aug.py"]

attention = dict(type="PolarizedSelfAttention")
model = dict(backbone=dict(type="PolarizedResNetV1c", attention=attention))
