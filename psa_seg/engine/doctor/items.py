"""One image of each set, loaded as it will be: what would stop the first step, or a validation."""

from typing import Any

from mmengine.config import Config
from mmseg.registry import DATASETS

from psa_seg.datasets.loading import NamingDataset
from psa_seg.engine.doctor.data import Found
from psa_seg.engine.doctor.masks import TRAINING, ignored_id
from psa_seg.engine.doctor.sizes import at_once, padded, preprocessor

MOST_SIZES = 8  # of images that are loaded to see whether they come out alike


def check_items(config: Config, found: dict[str, list[Found]]) -> list[str]:
    """What is wrong with images and masks when they have gone through the pipelines.

    Args:
        config: of a training or a test.
        found: the data sets on the disk, by loader.
    """
    wrong = []
    for loader, sets in found.items():
        built = DATASETS.build(config[loader].dataset)
        if not len(built):
            wrong.append(
                f"{config.filename}: {loader}.dataset has no image left\n"
                "  do         take out its indices, or what it filters by"
            )
            continue
        dataset = NamingDataset(built, ignored_id(config.model))
        mistaken = _wrong_item(config, loader, dataset[0])
        wrong += mistaken or _wrong_batches(config, loader, dataset, sets)
    return wrong


def _wrong_item(config: Config, loader: str, item: dict[str, Any]) -> list[str]:
    if not isinstance(item, dict) or "data_samples" not in item:
        return [
            f"{config.filename}: images are not packed\n  where      {loader}.dataset.pipeline\n"
            "  do         put dict(type='PackSegInputs') at its end"
        ]
    sample = item["data_samples"]
    if "gt_sem_seg" not in sample and not isinstance(sample, list):
        return [
            f"{config.filename}: images come without their masks\n"
            f"  where      {loader}.dataset.pipeline\n"
            "  do         put dict(type='LoadLabelIds') into it"
        ]
    if isinstance(sample, list) or "gt_sem_seg" not in sample:  # several views, or no masks
        return []
    mask, image = tuple(sample.gt_sem_seg.shape), tuple(item["inputs"].shape[1:])
    whole = tuple(sample.metainfo.get("ori_shape", image))
    training = loader == TRAINING
    if mask == (image if training else whole):
        return []
    size = "x".join(map(str, mask))
    if training:
        return [
            f"{config.filename}: an image of {image[0]}x{image[1]} is trained on with a mask of "
            f"{size}\n  where      {loader}.dataset.pipeline\n"
            "  do         load masks (LoadLabelIds) before all that changes sizes"
        ]
    return [
        f"{config.filename}: predictions come at the image's own size, {whole[0]}x{whole[1]}, and "
        f"the mask is then of {size}\n  where      {loader}.dataset.pipeline\n"
        "  do         load masks (LoadLabelIds, LoadAnnotations) after Resize, and all that "
        "changes sizes"
    ]


def _wrong_batches(
    config: Config, loader: str, dataset: NamingDataset, sets: list[Found]
) -> list[str]:
    """Images that come out of a pipeline in sizes that cannot be put into one batch."""
    training = loader == TRAINING
    batch = at_once(config) if training else config[loader].get("batch_size", 1)
    if batch == 1 or (training and preprocessor(config).get("size_divisor")):
        return []
    least = (training and padded(config)) or (0, 0)
    first: dict[tuple[int, int], int] = {}  # an image of each size
    sizes = [image.loaded for one in sets for image, _ in one.headers]
    for index, size in enumerate(sizes[: len(dataset)]):
        first.setdefault(size, index)
    chosen = list(first.values())[:MOST_SIZES]
    if len(chosen) < 2:
        return []
    shapes = {tuple(map(max, least, dataset[i]["inputs"].shape[1:])) for i in chosen}
    if len(shapes) < 2:
        return []
    few = ", ".join(f"{rows}x{columns}" for rows, columns in sorted(shapes)[:3])
    return [
        f"{config.filename}: {batch} images of {loader} make a batch, and come in {len(shapes)} "
        f"sizes or more: {few}\n"
        + (
            "  do         put dict(type='RandomCrop', crop_size=(rows, columns)) into its pipeline"
            if training
            else f"  do         --cfg-options {loader}.batch_size=1, or resize them to one size"
        )
    ]
