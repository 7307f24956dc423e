# The baseline on MobileNetV2 at output stride 16.
_base_ = [
    "./_base_/models/deeplabv3plus_mobilenetv2.py",
    "./_base_/datasets/cityscapes.py",
    "./_base_/schedules/sgd_poly.py",
    "./_base_/default_runtime.py",
]
