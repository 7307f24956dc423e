"""Every error of loading names its file, in whichever process and loop it comes.

One wrapper around a dataset does it: what a broken file makes a decoder, or a step after it, say is
looked into, and anything that no file is to blame for keeps its traceback.
"""

from pathlib import Path
from typing import Any

import mmcv
from torch.utils.data import Dataset

from psa_seg.datasets import masks
from psa_seg.datasets.headers import header
from psa_seg.datasets.labels import IGNORED
from psa_seg.datasets.transforms import ids_of, of_another_size
from psa_seg.errors import DataError, UserError

KEYS = ("img_path", "seg_map_path")


class NamingDataset(Dataset):
    """A dataset whose errors name the file.

    Args:
        dataset: mmengine's, indexed by image.
        ignored: truth value of the pixels that do not count.

    Raises:
        DataError: for a file that cannot be loaded, or is too large to be; for a mask of another
            size than its image, of several channels, or with an id that is no class: the loss would
            stumble over it, and on a GPU without a word of where.
    """

    def __init__(self, dataset: Any, ignored: int = IGNORED) -> None:
        self.dataset, self.ignored, self.metainfo = dataset, ignored, dataset.metainfo

    def __len__(self) -> int:
        """Images in the set."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """The image and its annotation, as transformed."""
        return self.load(index)

    def __getattr__(self, name: str) -> Any:
        """What else the dataset has, for hooks that look for it."""
        if name == "dataset":  # before there is one
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def load(self, index: int) -> Any:
        """As `__getitem__`."""
        info = self.get_data_info(index)
        if isinstance(info.get("img_path"), str) and "://" not in info["img_path"]:
            header(Path(info["img_path"]))  # before anything decodes it
        try:
            item = self.dataset[index]
        except UserError:
            raise
        except Exception as error:
            found = fault(info)
            if found is None:
                paths = filter(None, (info.get(key) for key in KEYS))
                error.add_note(f"while loading {' '.join(map(str, paths))}")
                raise
            raise DataError(found) from None
        self._require_mask(item, info)
        return item

    def _require_mask(self, item: Any, info: dict[str, Any]) -> None:
        """The mask fits its image, and holds classes."""
        samples = item.get("data_samples") if isinstance(item, dict) else None
        sample = samples[0] if isinstance(samples, list) else samples  # of several views
        if sample is None or "gt_sem_seg" not in sample:
            return
        ids, path = sample.gt_sem_seg.data, info.get("seg_map_path")
        if ids.ndim != 3 or len(ids) != 1:
            shape = "x".join(map(str, ids.shape))
            raise DataError(fault(info) or f"mask of {shape}, and not of one channel: {path}")
        classes = len(self.metainfo["classes"])
        strange = ids[((ids < 0) | (ids >= classes)) & (ids != self.ignored)]
        if len(strange):
            values = strange.unique().tolist()
            filled = _is_sound(info, {*values})
            raise DataError(
                f"label ids out of range: {masks.listed(values)}\n"
                f"  in         {path}{', which a step of the pipeline has put there' * filled}\n"
                f"  expected   0 to {classes - 1}, or {self.ignored}, after the data set's own "
                "mapping\n  do         "
                + (
                    f"have that step write class numbers, or {self.ignored}"
                    if filled
                    else "replace that mask"
                )
            )


def _is_sound(info: dict[str, Any], strange: set[int]) -> bool:
    """Whether a mask can be read as it lies, and means none of these class numbers."""
    ids, path = ids_of(info), str(info.get("seg_map_path", ""))
    try:
        values = masks.count(Path(path), info.get("colours", False))
    except DataError:  # it has a format, or a place, that others read
        return False
    return strange.isdisjoint(ids.get(value, value) for value in values)


def fault(info: dict[str, Any]) -> str | None:
    """What is wrong with an image or its mask, decoded as they lie; None if nothing is."""
    image, mask = (Path(info[key]) if info.get(key) else None for key in KEYS)
    if image is None or "://" in str(image):  # it is no file's fault that is known here
        return None
    try:
        size = header(image).loaded
        if mmcv.imread(str(image), backend="cv2") is None:
            raise DataError(
                f"image cannot be decoded: {image}\n  do         copy or export it again"
            )
        if mask and (found := masks.read(mask, info.get("colours", False)).shape[::-1]) != size:
            raise DataError(of_another_size(str(mask), found, size))
    except UserError as error:
        return str(error)
    except Exception as error:  # OpenCV's, of whatever a broken file makes it do
        reason = " ".join(f"{error}".split())[:200] or type(error).__name__
        return (
            f"image cannot be decoded: {image}\n  because    {reason}\n"
            "  do         copy or export it again"
        )
    return None
