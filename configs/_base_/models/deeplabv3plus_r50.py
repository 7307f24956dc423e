# DeepLabV3+ (arXiv 1802.02611) on ResNetV1c-50 at output stride 8, as MMSegmentation trains it on
# Cityscapes: deeplabv3plus_r50-d8_4xb2-80k_cityscapes-512x1024.
_base_ = ["./imagenet_input.py"]

norm_cfg = dict(type="SyncBN", requires_grad=True)
loss = dict(type="CrossEntropyLoss", use_sigmoid=False)
model = dict(
    type="LeanEncoderDecoder",
    backbone=dict(
        type="ResNetV1c",
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        norm_cfg=norm_cfg,
        norm_eval=False,
        style="pytorch",
        contract_dilation=True,
        init_cfg=dict(
            type="Pretrained", checkpoint="{{$RESNET50_V1C_WEIGHTS:open-mmlab://resnet50_v1c}}"
        ),
    ),
    decode_head=dict(
        type="DepthwiseSeparableASPPHead",
        in_channels=2048,
        in_index=3,
        channels=512,
        dilations=(1, 12, 24, 36),
        c1_in_channels=256,
        c1_channels=48,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(**loss, loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_channels=1024,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(**loss, loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
tta_model = dict(type="LeanTTAModel")
