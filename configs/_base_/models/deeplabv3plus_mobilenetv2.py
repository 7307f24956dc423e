# DeepLabV3+ on MobileNetV2 at output stride 16 (dilated depthwise convolutions are slow on CPU).
_base_ = ["./deeplabv3plus_r50.py"]

channels_last = True  # side by side in memory: on a CPU, depthwise convolutions are faster so
model = dict(
    backbone=dict(
        _delete_=True,
        type="MobileNetV2",
        strides=(1, 2, 2, 2, 1, 1, 1),
        dilations=(1, 1, 1, 1, 1, 2, 2),
        out_indices=(1, 2, 4, 6),
        norm_cfg=dict(type="SyncBN", requires_grad=True),
        init_cfg=dict(
            type="Pretrained", checkpoint="{{$MOBILENET_V2_WEIGHTS:mmcls://mobilenet_v2}}"
        ),
    ),
    # 256 filters, as in the DeepLabV3+ paper: 512 would cost ten times the backbone.
    decode_head=dict(in_channels=320, channels=256, c1_in_channels=24, dilations=(1, 6, 12, 18)),
    auxiliary_head=dict(in_channels=96, channels=128),
)
