# The baseline: DeepLabV3+ R-50-D8, 512x1024, 80k iterations, eight images a step, no attention.
_base_ = [
    "./_base_/models/deeplabv3plus_r50.py",
    "./_base_/datasets/cityscapes.py",
    "./_base_/schedules/sgd_poly.py",
    "./_base_/default_runtime.py",
]
