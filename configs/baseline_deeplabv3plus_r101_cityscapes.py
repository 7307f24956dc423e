# The baseline on ResNetV1c-101.
_base_ = ["./baseline_deeplabv3plus_cityscapes.py"]

model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint="{{$RESNET101_V1C_WEIGHTS:open-mmlab://resnet101_v1c}}"),
    )
)
