# UPerNet on timm's ConvNeXt-T (arXiv 2201.03545), on ADE20K; needs timm. Recipe: that of Swin-T.
_base_ = ["../baseline_upernet_swin_ade20k.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="TIMMBackbone",
        model_name="convnext_tiny",
        pretrained=True,
        drop_path_rate=0.4,
        out_indices=(0, 1, 2, 3),
    )
)
