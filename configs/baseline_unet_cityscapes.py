# U-Net on Cityscapes, as MMSegmentation's unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.
_base_ = [
    "./_base_/models/unet.py",
    "./_base_/datasets/cityscapes.py",
    "./_base_/schedules/sgd_poly.py",
    "./_base_/default_runtime.py",
]

train_dataloader = dict(batch_size=16)
steps = 160000
train_cfg = dict(max_iters=steps)
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=steps, by_epoch=False)]
