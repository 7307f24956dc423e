"""Images and masks of one's own, as a data.yaml describes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from psa_seg.datasets.data_file import DataFile, data_file
from psa_seg.datasets.pairs import Pair, is_held_out, pairs
from psa_seg.errors import DataError


@DATASETS.register_module()
class FolderDataset(BaseSegDataset):
    """The images of one split of a data set of one's own, and their masks.

    Args:
        content: of the data file, as `DataFile.content` has it.
        split: `train`, `val` or `test`; one that the file does not have is its `val`.
        data_root: of the file's relative places.
        **kwargs: as for `BaseSegDataset`.

    Raises:
        DataError: where images or masks are missing, or do not pair.
    """

    def __init__(self, content: dict[str, Any], split: str, data_root: str, **kwargs: Any) -> None:
        self.file, self.split = as_read(content, Path(data_root)), split
        metainfo = dict(classes=self.file.names, palette=[list(c) for c in self.file.palette])
        super().__init__(data_root=data_root, metainfo=metainfo, data_prefix={}, **kwargs)

    def get_label_map(self, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """Value on disk → class number; 255 is ignored."""
        return dict(self.file.ids)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry per image, in the order of their paths."""
        return [
            dict(
                img_path=str(pair.image),
                seg_map_path=str(pair.mask),
                label_map=self.label_map,
                only_labels=True,  # any other value is a mistake
                colours=self.file.colours,
                reduce_zero_label=False,
                seg_fields=[],
            )
            for pair in split_pairs(self.file, self.split)
        ]


def split_pairs(file: DataFile, split: str) -> list[Pair]:
    """Images and masks of a split.

    Raises:
        DataError: where there are none, or they do not pair.
    """
    part = split if split in file.images or split in file.lists else "val"
    held_out = file.held_out and part in ("train", "val")
    place = part if part in file.images else "train"
    found = pairs(file.root, file.images[place], file.masks[place], file.lists.get(part, ""))
    if held_out:
        wanted = part == "val"
        found = [pair for pair in found if is_held_out(pair.name, file.held_out) == wanted]
    if not found:
        raise DataError(
            f"val: {file.held_out} of the training images leaves none for {part}\n"
            f"  where      {file.path}\n"
            "  do         give another share, or name the images of the validation set: "
            "images.val, masks.val"
        )
    return found


def as_read(content: Mapping[str, Any], root: Path) -> DataFile:
    """The data file that `content` was made of, at its place on this disk."""
    given = {key: value for key, value in content.items() if value}
    given["values"] = dict(map(tuple, content["values"]))
    return data_file(given, root / "data.yaml")
