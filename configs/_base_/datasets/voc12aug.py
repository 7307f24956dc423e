# PASCAL VOC 2012, 1464 training images, and SBD's masks for 9118 more, in $VOC_ROOT:
# JPEGImages/ SegmentationClass/ SegmentationClassAug/ ImageSets/Segmentation/{train,aug,val}.txt
_base_ = ["./cityscapes.py"]

data_name = "VOC12Aug"
data_help = (
    "unpack VOCtrainval_11-May-2012.tar, make SegmentationClassAug/ and aug.txt from SBD "
    "with MMSegmentation's tools/dataset_converters/voc_aug.py, and set VOC_ROOT to "
    "VOCdevkit/VOC2012"
)
data_root = "{{$VOC_ROOT:data/VOCdevkit/VOC2012}}"
crop_size = (512, 512)
image_scale = (2048, 512)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadLabelIds"),
    dict(type="RandomResize", scale=image_scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="Pad", size=crop_size[::-1]),  # width, height; masks with 255
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=image_scale, keep_ratio=True),
    dict(type="LoadLabelIds"),
    dict(type="PackSegInputs"),
]
dataset = dict(type="PascalVOCDataset", data_root=data_root)
images = "JPEGImages"
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        _delete_=True,
        type="ConcatDataset",
        datasets=[
            dict(
                **dataset,
                ann_file=f"ImageSets/Segmentation/{split}.txt",
                data_prefix=dict(img_path=images, seg_map_path=masks),
                pipeline=train_pipeline,
            )
            for split, masks in (("train", "SegmentationClass"), ("aug", "SegmentationClassAug"))
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file="ImageSets/Segmentation/val.txt",
        data_prefix=dict(img_path=images, seg_map_path="SegmentationClass"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
