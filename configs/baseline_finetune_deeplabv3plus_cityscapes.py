# A trained DeepLabV3+ (MMSegmentation: 80k iterations, 80.09 mIoU), trained on for 20k at a tenth
# of the learning rate: what an attention that is put into it has to be compared with.
_base_ = ["./baseline_deeplabv3plus_cityscapes.py"]

model = dict(backbone=dict(init_cfg=None))  # every weight comes from the checkpoint
load_from = "{{$DEEPLABV3PLUS_R50_CITYSCAPES:https://download.openmmlab.com/mmsegmentation/v0.5/deeplabv3plus/deeplabv3plus_r50-d8_512x1024_80k_cityscapes/deeplabv3plus_r50-d8_512x1024_80k_cityscapes_20200606_114049-f9fb496d.pth}}"
optim_wrapper = dict(optimizer=dict(lr=0.001))
train_cfg = dict(max_iters=20000, val_interval=2000)
param_scheduler = [dict(type="PolyLR", eta_min=1e-5, power=0.9, begin=0, end=20000, by_epoch=False)]
