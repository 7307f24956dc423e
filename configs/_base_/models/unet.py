# U-Net (arXiv 1505.04597) of five stages with a fully convolutional head, widths as in
# MMSegmentation's fcn_unet_s5-d16. Its maps: the bottleneck, then what each decoder stage gives.
_base_ = ["./imagenet_input.py"]

norm_cfg = dict(type="SyncBN", requires_grad=True)
loss = dict(type="CrossEntropyLoss", use_sigmoid=False)
head = dict(
    type="FCNHead",
    channels=64,
    num_convs=1,
    concat_input=False,
    dropout_ratio=0.1,
    num_classes=19,
    norm_cfg=norm_cfg,
    align_corners=False,
)
model = dict(
    type="LeanEncoderDecoder",
    backbone=dict(type="UNet", base_channels=64, num_stages=5, norm_cfg=norm_cfg),
    decode_head=dict(**head, in_channels=64, in_index=4, loss_decode=dict(**loss, loss_weight=1.0)),
    auxiliary_head=dict(
        **head, in_channels=128, in_index=3, loss_decode=dict(**loss, loss_weight=0.4)
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
tta_model = dict(type="LeanTTAModel")
