# ADE20K as downloaded: $ADE20K_ROOT/{images,annotations}/{training,validation}/; id 0 is ignored.
_base_ = ["./voc12aug.py"]

data_name = "ADE20K"
data_help = (
    "unpack http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip, and set "
    "ADE20K_ROOT to ADEChallengeData2016"
)
train_pipeline = [  # nothing pads here but the model: so it is in MMSegmentation's own config
    dict(type="LoadImageFromFile"),
    dict(type="LoadLabelIds"),
    dict(
        type="RandomResize",
        scale={{_base_.image_scale}},
        ratio_range=(0.5, 2.0),
        keep_ratio=True,
    ),
    dict(type="RandomCrop", crop_size={{_base_.crop_size}}, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
dataset = dict(
    type="ADE20KDataset",
    data_root="{{$ADE20K_ROOT:data/ADEChallengeData2016}}",
    ann_file="",
)
train_dataloader = dict(
    dataset=dict(
        **dataset,
        _delete_=True,
        data_prefix=dict(img_path="images/training", seg_map_path="annotations/training"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path="images/validation", seg_map_path="annotations/validation"),
    ),
)
test_dataloader = val_dataloader
