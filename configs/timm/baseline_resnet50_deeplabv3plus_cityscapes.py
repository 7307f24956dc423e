# The baseline on timm's ResNet-50 at output stride 8; needs timm.
_base_ = ["../baseline_deeplabv3plus_cityscapes.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="TIMMBackbone",
        model_name="resnet50",
        pretrained=True,
        output_stride=8,
        out_indices=(1, 2, 3, 4),
    )
)
