# ADE20K as downloaded: $ADE20K_ROOT/{images,annotations}/{training,validation}/; id 0 is ignored.
_base_ = ["./voc12aug.py"]

data_name = "ADE20K"
data_help = (
    "unpack http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip, and set "
    "ADE20K_ROOT to ADEChallengeData2016"
)
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
        pipeline={{_base_.train_pipeline}},
    ),
)
val_dataloader = dict(
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path="images/validation", seg_map_path="annotations/validation"),
    ),
)
test_dataloader = val_dataloader
