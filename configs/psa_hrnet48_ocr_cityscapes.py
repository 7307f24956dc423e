# The paper's flagship: HRNetV2-W48 + OCR with Polarized Self-Attention, on Cityscapes.
#
# As in the official code (github.com/DeLightCMU/PSA, built upon NVIDIA/semantic-segmentation):
# - the released function `PSA_p`, in all BasicBlocks of HRNet and in no Bottleneck (README there:
#   86.95 mIoU for `PSA_p`, 86.72 for `PSA_s`, the one that its hrnetv2.py builds as released:
#   --cfg-options model.backbone.attention.layout=sequential)
# - NVIDIA's recipe (its scripts/train_cityscapes.yml and defaults): crops of 1024x2048, one on each
#   of eight GPUs, scaled by 0.5 to 2; SGD 5e-3 / 0.9 / 1e-4; poly with exponent 2 over 175 epochs
#   (here step by step); the auxiliary loss of OCR weighted 0.4
# Not as there, so its figure is not to be expected: weights from ImageNet alone, no pretraining on
# Mapillary Vistas; cross entropy, no RMI loss; one scale, no learnt fusion of three; no sampling by
# class; no coarse or auto-labelled images; MMSegmentation's colour jitter, and its limit on one
# class in a crop; the attention's weights start as the released class draws them, which HRNet there
# then overwrites with N(0, 0.001).
_base_ = ["./baseline_hrnet48_ocr_cityscapes.py"]

model = dict(
    backbone=dict(
        type="PolarizedHRNet",
        attention=dict(type="PolarizedSelfAttention", form="official"),
        blocks=("BasicBlock",),
    )
)
