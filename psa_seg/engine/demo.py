"""`--demo`: any config in `configs/`, small enough for two cores, on synthetic streets.

Model types, depth and the attention's placement stay as the config has them. Width, image sizes
and schedule shrink, and the data are synthetic: a demo shows that all works, not what it is worth.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict

from psa_seg.datasets.data_file import DataFile
from psa_seg.datasets.labels import CLASSES
from psa_seg.datasets.synthetic import prepare
from psa_seg.engine.autocast import has_bfloat16
from psa_seg.engine.config import set_iterations
from psa_seg.engine.doctor.classes import heads
from psa_seg.engine.doctor.data import first_steps
from psa_seg.engine.options import has_common_wrapper, use_amp
from psa_seg.engine.own_data import typical_size, use_data
from psa_seg.records.schema import OF_A_DEMO, STREETS

DATA_ROOT = Path("data/synthetic_cityscapes")
BASE_CHANNELS = 8  # a ResNet's usual 64, by eight
HRNET_FACTOR = 0.25
SWIN_FACTOR = 0.25
HEAD_CHANNELS = 64
IMAGE_SCALE = (256, 128)  # width, height: half the size in which the scenes are drawn
CROP_SIZE = (128, 256)  # height, width
ITERATIONS = 700
NOTICE = "DEMO on SYNTHETIC street scenes: these figures say nothing about real images."
NOTICE_OF_OWN = "DEMO: a narrow network, small images, few steps: no figures of a full training."


def make_demo(config: Config, data: DataFile | None = None) -> None:
    """Turn `config` into its demo, in place.

    Args:
        config: any of `configs/`.
        data: of one's own; None for the synthetic scenes, which are drawn if they are not there.
    """
    print(f"*** {NOTICE if data is None else NOTICE_OF_OWN} ***")
    if data is None:
        shrink(config, prepare(DATA_ROOT))
        config.val_dataloader.batch_size = 4  # all scenes are of one size
    else:
        shrink_own(config, data)


def quicken(config: Config, chosen: Collection[str]) -> None:
    """Have a demo train as fast as this processor can, where nobody has chosen otherwise.

    In mixed precision, and with all weights stepped in one call, which saves a tenth of the time.

    Args:
        config: overridden; changed in place.
        chosen: options that were overridden.
    """
    wrapper = any(key.startswith(("optim_wrapper.type", "optim_wrapper._")) for key in chosen)
    free = has_common_wrapper(config) and not wrapper
    if has_bfloat16() and not torch.cuda.is_available() and free:
        use_amp(config)
    optimizer = config.optim_wrapper.optimizer
    others = {"foreach", "differentiable"} & optimizer.keys()
    if optimizer.get("type") in ("SGD", "Adam", "AdamW", "Adagrad") and not others:
        optimizer.setdefault("fused", True)


def shrink_own(config: Config, data: DataFile) -> None:
    """Turn `config` into its demo, in place, on data brought to as many pixels as the scenes'."""
    _shrink_run(config)
    use_data(config, _small(data))
    config.data_name += OF_A_DEMO


def _small(data: DataFile) -> DataFile:
    width, height = data.scale or typical_size(data)
    factor = min(1.0, (IMAGE_SCALE[0] * IMAGE_SCALE[1] / (width * height)) ** 0.5)
    scale = (max(1, round(factor * width)), max(1, round(factor * height)))
    return replace(data, scale=scale, crop=scale)


def shrink(config: Config, data_root: Path) -> None:
    """Turn `config` into its demo, in place, on the synthetic scenes in `data_root`."""
    for _, head in heads(config.model):
        head.num_classes = len(CLASSES)
    for loader, split in (("train", "train"), ("val", "val"), ("test", "val")):
        dataset = config[f"{loader}_dataloader"].dataset
        config[f"{loader}_dataloader"].dataset = dict(
            type="RawCityscapesDataset",
            data_root=str(data_root),
            data_prefix=dict(img_path=f"leftImg8bit/{split}", seg_map_path=f"gtFine/{split}"),
            pipeline=first_steps(dataset),
            test_mode=loader != "train",
        )
    config.data_name = STREETS
    _shrink_run(config)


def _shrink_run(config: Config) -> None:
    """Model, image sizes and schedule of a demo, whatever it is trained on."""
    _shrink_model(config.model)
    for loader in ("train", "val", "test"):
        _shrink_images(first_steps(config[f"{loader}_dataloader"].dataset))
    _shrink_images(config.tta_pipeline)
    config.load_from = None  # no checkpoint is as narrow
    config.train_dataloader.update(batch_size=4, num_workers=1)
    # From random weights, and short: what learns fast, and nothing that pays off late.
    config.optim_wrapper.optimizer = dict(type="AdamW", lr=1e-2, weight_decay=1e-2)
    pipeline = first_steps(config.train_dataloader.dataset)
    pipeline[:] = [step for step in pipeline if step.type != "PhotoMetricDistortion"]
    set_iterations(config, ITERATIONS, config.train_cfg.max_iters)
    config.train_cfg.val_interval = ITERATIONS // 4
    config.default_hooks.checkpoint.interval = ITERATIONS // 4
    config.default_hooks.logger.interval = 25


def _shrink_model(model: ConfigDict) -> None:
    factor = 1.0
    if "depth" in model.backbone:  # a ResNet; a MobileNetV2 is small as it is
        factor = BASE_CHANNELS / model.backbone.get("base_channels", 64)
        model.backbone.update(base_channels=BASE_CHANNELS, stem_channels=BASE_CHANNELS)
    elif "base_channels" in model.backbone:  # a U-Net
        factor = BASE_CHANNELS / model.backbone.base_channels
        model.backbone.base_channels = BASE_CHANNELS
    if "embed_dims" in model.backbone:  # a Swin transformer
        factor = SWIN_FACTOR
        model.backbone.embed_dims = _scaled(model.backbone.embed_dims, factor)
    if "extra" in model.backbone:  # an HRNet
        factor = HRNET_FACTOR
        for stage in model.backbone.extra.values():
            stage.num_channels = _scaled(stage.num_channels, factor)
    model.backbone.init_cfg = None
    model.data_preprocessor.size = CROP_SIZE
    neck = model.get("neck") or []
    for part in neck if isinstance(neck, list) else [neck]:
        if "in_channels" in part:
            part.in_channels = _scaled(part.in_channels, factor)
    for _, head in heads(model):
        head.channels = HEAD_CHANNELS
        head.in_channels = _scaled(head.in_channels, factor)
        if "c1_in_channels" in head:
            head.c1_in_channels = _scaled(head.c1_in_channels, factor)


def _scaled(channels: Any, factor: float) -> Any:
    """A number of channels, or several, times `factor`."""
    if isinstance(channels, list | tuple):
        return [_scaled(each, factor) for each in channels]
    return int(channels * factor)


def _shrink_images(steps: Any) -> None:
    """Sizes in a pipeline, test-time augmentation's nested lists included."""
    for step in steps:
        if isinstance(step, list):
            _shrink_images(step)
            continue
        _shrink_images(step.get("transforms", []))
        if "ratio_range" in step:
            step.ratio_range = (0.75, 1.5)
        if "scale" in step:
            step.scale = IMAGE_SCALE
        if "scale_factor" in step:
            step.scale_factor *= 0.5
        if "crop_size" in step:
            step.crop_size = CROP_SIZE
        if step.get("type") == "Pad":
            step.size = CROP_SIZE[::-1]  # width, height
