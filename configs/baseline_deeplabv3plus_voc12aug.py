# The baseline on PASCAL VOC 2012 with the extra masks: 512x512, 16 images a step, 20k iterations.
_base_ = [
    "./_base_/models/deeplabv3plus_r50.py",
    "./_base_/datasets/voc12aug.py",
    "./_base_/schedules/sgd_poly.py",
    "./_base_/default_runtime.py",
]

num_classes = 21
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    decode_head=dict(num_classes=num_classes),
    auxiliary_head=dict(num_classes=num_classes),
)
train_cfg = dict(max_iters=20000, val_interval=2000)
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=20000, by_epoch=False)]
