# HRNetV2-W48 + OCR without attention, on whole Cityscapes images: the baseline of
# psa_hrnet48_ocr_cityscapes.py, which says where each number comes from.
_base_ = [
    "./_base_/models/ocrnet_hr48.py",
    "./_base_/datasets/cityscapes.py",
    "./_base_/schedules/sgd_poly.py",
    "./_base_/default_runtime.py",
]

crop_size = (1024, 2048)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadLabelIds"),
    dict(type="RandomResize", scale=(2048, 1024), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
model = dict(data_preprocessor=dict(size=crop_size))
steps = 65078  # 175 epochs of 2,975 images, eight a step
optim_wrapper = dict(optimizer=dict(lr=5e-3, weight_decay=1e-4))
train_cfg = dict(max_iters=steps)
param_scheduler = [dict(type="PolyLR", eta_min=0, power=2.0, begin=0, end=steps, by_epoch=False)]
