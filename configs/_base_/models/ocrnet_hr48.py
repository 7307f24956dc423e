# OCRNet (arXiv 1909.11065) on HRNetV2-W48, widths as in MMSegmentation's ocrnet_hr48.
_base_ = ["./imagenet_input.py"]

norm_cfg = dict(type="SyncBN", requires_grad=True)
loss = dict(type="CrossEntropyLoss", use_sigmoid=False)
widths = [48, 96, 192, 384]
head = dict(
    in_channels=widths,
    in_index=(0, 1, 2, 3),
    input_transform="resize_concat",
    dropout_ratio=-1,
    num_classes=19,
    norm_cfg=norm_cfg,
    align_corners=False,
)
model = dict(
    type="LeanCascadeEncoderDecoder",
    num_stages=2,
    backbone=dict(
        type="HRNet",
        norm_cfg=norm_cfg,
        norm_eval=False,
        extra=dict(
            stage1=dict(
                num_modules=1,
                num_branches=1,
                block="BOTTLENECK",
                num_blocks=(4,),
                num_channels=(64,),
            ),
            stage2=dict(
                num_modules=1,
                num_branches=2,
                block="BASIC",
                num_blocks=(4, 4),
                num_channels=widths[:2],
            ),
            stage3=dict(
                num_modules=4,
                num_branches=3,
                block="BASIC",
                num_blocks=(4, 4, 4),
                num_channels=widths[:3],
            ),
            stage4=dict(
                num_modules=3,
                num_branches=4,
                block="BASIC",
                num_blocks=(4, 4, 4, 4),
                num_channels=widths,
            ),
        ),
        init_cfg=dict(
            type="Pretrained", checkpoint="{{$HRNETV2_W48_WEIGHTS:open-mmlab://msra/hrnetv2_w48}}"
        ),
    ),
    decode_head=[
        dict(
            **head,
            type="FCNHead",
            channels=sum(widths),
            kernel_size=1,
            num_convs=1,
            concat_input=False,
            loss_decode=dict(**loss, loss_weight=0.4),
        ),
        dict(
            **head,
            type="OCRHead",
            channels=512,
            ocr_channels=256,
            loss_decode=dict(**loss, loss_weight=1.0),
        ),
    ],
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
tta_model = dict(type="LeanTTAModel")
