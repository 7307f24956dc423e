# DeepLabV3+ on ResNetV1c-18 at output stride 8: widths of deeplabv3plus_r18-d8 in MMSegmentation.
_base_ = ["./deeplabv3plus_r50.py"]

model = dict(
    backbone=dict(
        depth=18,
        init_cfg=dict(checkpoint="{{$RESNET18_V1C_WEIGHTS:open-mmlab://resnet18_v1c}}"),
    ),
    decode_head=dict(in_channels=512, channels=128, c1_in_channels=64, c1_channels=12),
    auxiliary_head=dict(in_channels=256, channels=64),
)
