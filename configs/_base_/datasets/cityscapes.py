# Cityscapes as downloaded: $CITYSCAPES_ROOT/{leftImg8bit,gtFine}/{train,val,test}/<city>/*.png
data_name = "Cityscapes"
data_help = (
    "register at https://www.cityscapes-dataset.com, unpack leftImg8bit_trainvaltest.zip and "
    "gtFine_trainvaltest.zip into one folder, and set CITYSCAPES_ROOT to it"
)
data_root = "{{$CITYSCAPES_ROOT:data/cityscapes}}"
crop_size = (512, 1024)  # height, width
image_scale = (2048, 1024)  # width, height
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadLabelIds"),
    dict(type="RandomResize", scale=image_scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
# Labels are loaded after the resize: scores are taken at the images' own resolution.
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=image_scale, keep_ratio=True),
    dict(type="LoadLabelIds"),
    dict(type="PackSegInputs"),
]
tta_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale_factor=factor, keep_ratio=True)
                for factor in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            [
                dict(type="RandomFlip", prob=0.0, direction="horizontal"),
                dict(type="RandomFlip", prob=1.0, direction="horizontal"),
            ],
            [dict(type="LoadLabelIds")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
train_dataloader = dict(
    batch_size=8,  # images a step, on all GPUs together
    num_workers=4,
    sampler=dict(type="NumberedSampler"),
    dataset=dict(
        type="RawCityscapesDataset",
        data_root=data_root,
        data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),  # no image counts twice
    dataset=dict(
        type="RawCityscapesDataset",
        data_root=data_root,
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="ConfusionMetric")
test_evaluator = val_evaluator
