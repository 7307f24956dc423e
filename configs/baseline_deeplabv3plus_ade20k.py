# The baseline on ADE20K: 512x512, 16 images a step, 80k iterations.
_base_ = [
    "./_base_/models/deeplabv3plus_r50.py",
    "./_base_/datasets/ade20k.py",
    "./_base_/schedules/sgd_poly.py",
    "./_base_/default_runtime.py",
]

num_classes = 150
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    decode_head=dict(num_classes=num_classes),
    auxiliary_head=dict(num_classes=num_classes),
)
