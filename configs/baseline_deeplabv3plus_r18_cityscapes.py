# The baseline on ResNetV1c-18.
_base_ = [
    "./_base_/models/deeplabv3plus_r18.py",
    "./_base_/datasets/cityscapes.py",
    "./_base_/schedules/sgd_poly.py",
    "./_base_/default_runtime.py",
]
