# The main configuration with the sequential layout (eq. 5 of the paper).
_base_ = ["./psa_deeplabv3plus_cityscapes.py"]

model = dict(decode_head=dict(attention=dict(layout="sequential")))
