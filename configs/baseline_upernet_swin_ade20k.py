# UPerNet on Swin-T, on ADE20K, as MMSegmentation's
# swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.
_base_ = [
    "./_base_/models/upernet_swin_t.py",
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
without_decay = dict(decay_mult=0.0)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys={"relative_position_bias_table": without_decay, "norm": without_decay}
    ),
)
steps, warm_up = 160000, 1500
train_cfg = dict(max_iters=steps)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=warm_up),
    dict(type="PolyLR", eta_min=0.0, power=1.0, by_epoch=False, begin=warm_up, end=steps),
]
