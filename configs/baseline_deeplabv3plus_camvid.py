# The baseline on CamVid: DeepLabV3+ MobileNetV2 at output stride 16, 256x256, no attention.
_base_ = [
    "./_base_/models/deeplabv3plus_mobilenetv2.py",
    "./_base_/datasets/camvid.py",
    "./_base_/schedules/sgd_poly.py",
    "./_base_/default_runtime.py",
]

num_classes = 11
model = dict(
    data_preprocessor=dict(size=(256, 256)),
    decode_head=dict(num_classes=num_classes),
    auxiliary_head=dict(num_classes=num_classes),
)
optim_wrapper = dict(optimizer=dict(lr=0.02))
train_cfg = dict(max_iters=4000, val_interval=500)
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=4000, by_epoch=False)]
