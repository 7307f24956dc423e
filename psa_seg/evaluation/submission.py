"""The zip that Cityscapes' server takes for its test images, and what it would refuse.

One single-channel 8-bit PNG of label ids for each image, of its size, named
`<city>_<sequence>_<frame>*.png`: cityscapesscripts finds predictions by that pattern.
"""

import lzma
import re
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from PIL import Image

from psa_seg import files, shipped
from psa_seg.datasets.labels import CLASSES, LABEL_ID_OF
from psa_seg.errors import UserError

COUNT, SIZE = 1525, (2048, 1024)  # of Cityscapes' test split; width, height
LARGEST = 2**26  # bytes of a file, and pixels of an image: no prediction is larger
IDS = {"train": frozenset(range(len(CLASSES))), "label": frozenset(LABEL_ID_OF.tolist())}
FRAME = re.compile(r"([^_]+_\d{6}_\d{6})(?!\d).*\.png")
UNREADABLE = (  # what a damaged zip, or PNG, makes its reader raise
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    RuntimeError,  # encrypted, or of a compression that is not known
    zlib.error,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
)

Size = tuple[int, int]
Files = Iterable[tuple[str, Callable[[], bytes]]]


class Survey(NamedTuple):
    """What was found in a folder or a zip.

    Attributes:
        faults: by kind, which files have it, or which are missing.
        ids: by file, the values of its pixels.
    """

    faults: dict[str, list[str]]
    ids: dict[str, frozenset[int]]


def frame_of(name: str) -> str | None:
    """`<city>_<sequence>_<frame>`, with which the name of a file begins; None if it does not."""
    match = FRAME.fullmatch(PurePath(name).name)
    return match[1] if match else None


def check(path: Path, expected: Mapping[str, Size] | None) -> int:
    """A zip is one that the server takes.

    Args:
        path: of the zip.
        expected: width and height of each test image, by `frame_of` its name; None for those of
            Cityscapes, whose names are then not looked at beyond their pattern.

    Returns:
        How many predictions it holds.

    Raises:
        UserError: with every kind of fault, how many files have it, and the first.
    """
    if not path.is_file():
        raise files.missing("zip", path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            found = survey(((m.filename, partial(_unpack, archive, m)) for m in members), expected)
    except UNREADABLE as error:
        raise UserError(
            f"not a zip, or cut short: {path}\n"
            f"  because    {error}\n"
            "  do         make or copy it again"
        ) from error
    _refuse(path, found, "label")
    return len(found.ids)


def write(
    target: Path, folder: Path, expected: Mapping[str, Size] | None, ids: str | None = None
) -> None:
    """Make a zip of the PNGs in `folder`, which is checked before, and the zip after.

    Args:
        target: of the zip, which must not exist, and appears whole or not at all.
        folder: of single-channel PNGs, one for each test image, at any depth.
        expected: as for `check`.
        ids: `train` or `label`: what the PNGs hold; None to find out.

    Raises:
        UserError: for every fault, and where the ids could be either; nothing is written then.
    """
    files.must_be_new(target)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if not paths:
        raise UserError(f"no predictions in {folder}\n  do         correct the path")
    found = survey(((str(path.relative_to(folder)), path.read_bytes) for path in paths), expected)
    _refuse(folder, found, None)
    ids = ids or kind_of_ids(folder, found.ids)
    _refuse(folder, found, ids)
    table = np.arange(256, dtype=np.uint8)
    if ids == "train":
        table[: len(LABEL_ID_OF)] = LABEL_ID_OF
    with files.whole(target, new=True) as part:
        with zipfile.ZipFile(part, "x") as archive:  # stored: PNGs are compressed already
            for path in paths:
                _, png = cv2.imencode(".png", table[_read(path.read_bytes())])
                archive.writestr(f"{frame_of(path.name)}_labelIds.png", png.tobytes())
        check(part, expected)


def survey(given: Files, expected: Mapping[str, Size] | None) -> Survey:
    """Look at every file: its name, its format, its size and the ids in it.

    Args:
        given: names, and what gives the bytes of each.
        expected: as for `check`.
    """
    faults: dict[str, list[str]] = defaultdict(list)
    ids: dict[str, frozenset[int]] = {}
    first_of: dict[str, str] = {}
    for name, read in given:
        frame = frame_of(name)
        outside = PurePath(name).is_absolute() or ".." in PurePath(name).parts
        if outside or frame is None or (expected is not None and frame not in expected):
            faults["foreign"].append(name)
            continue
        if frame in first_of:
            faults["double"].append(f"{name}, beside {first_of[frame]}")
            continue
        first_of[frame] = name
        try:
            labels = _read(read())
        except TypeError as error:
            faults["format"].append(f"{name}: {error}")
            continue
        except UNREADABLE as error:
            faults["broken"].append(f"{name}: {error}")
            continue
        columns, rows = expected[frame] if expected is not None else SIZE
        if labels.shape != (rows, columns):
            size = f"{labels.shape[1]}x{labels.shape[0]}"
            faults["size"].append(f"{name}: {size}, not {columns}x{rows}")
        ids[name] = frozenset(np.flatnonzero(np.bincount(labels.ravel())).tolist())
    if expected is not None:
        faults["missing"] += sorted(expected.keys() - first_of)
    elif len(first_of) != COUNT:
        faults["number"].append(f"{len(first_of)} files for Cityscapes' {COUNT} test images")
    return Survey(faults, ids)


def kind_of_ids(where: Path, ids: Mapping[str, frozenset[int]]) -> str:
    """`train` or `label`: which ids all these files together must hold.

    Raises:
        UserError: where they fit both, or neither.
    """
    found = frozenset().union(*ids.values())
    kinds = [kind for kind, allowed in IDS.items() if found <= allowed]
    if len(kinds) == 1:
        return kinds[0]
    lines = [f"  not {kind:<7}{_outside(ids, IDS[kind])[0]}" for kind in IDS if not kinds]
    problem = f"ids {sorted(found)} are both" if kinds else "some ids are of neither kind"
    raise UserError(
        "\n".join([f"train ids or label ids? {where}: {problem}", *lines])
        + "\n  do         say --ids train or --ids label; 255, or any other id that is not of one "
        "of\n             the 19 evaluated classes, has to be replaced by one that is"
    )


def _outside(ids: Mapping[str, frozenset[int]], allowed: frozenset[int]) -> list[str]:
    return [f"{name}: {sorted(held - allowed)}" for name, held in ids.items() if held - allowed]


SAID = {
    "missing": "test images without a file",
    "double": "files too many for one image",
    "foreign": "files that are no <city>_<sequence>_<frame>*.png of a test image",
    "broken": "files that cannot be read",
    "format": "files that are no single-channel 8-bit PNG",
    "size": "files not of the size of their image",
    "ids": "files with ids that are none of the 19 evaluated classes'",
}


def _refuse(where: Path, found: Survey, ids: str | None) -> None:
    """Raise, where there is a fault; ids count if it is said which they should be."""
    faults = dict(found.faults)
    if ids:
        faults["ids"] = _outside(found.ids, IDS[ids])
    lines = [f"  {count}" for count in faults.get("number", [])]
    lines += [
        f"  {len(faults[kind])} {said}, {faults[kind][0]}" + " first" * (len(faults[kind]) > 1)
        for kind, said in SAID.items()
        if faults.get(kind)
    ]
    if not lines:
        return
    remedy = "  do         mend these, and run the same command again"
    held = frozenset().union(*found.ids.values())
    if ids == "label" and faults["ids"] and held <= IDS["train"]:
        tool = shipped.words("format-cityscapes")
        remedy = f"  do         these are train ids: {tool} FOLDER converts them"
    raise UserError("\n".join([f"no submission to Cityscapes: {where}", *lines, remedy]))


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A file in a zip, whose directory says that it is not too large: no more of it is read."""
    if member.file_size > LARGEST:
        raise ValueError(f"{member.file_size} bytes, unpacked")
    return archive.read(member)


def _read(data: bytes) -> np.ndarray:
    """The pixels uint8 `[H, W]` of a PNG.

    Raises:
        TypeError: for an image of another format.
        UNREADABLE: for what is no image, or a damaged one.
    """
    with Image.open(BytesIO(data)) as image:
        if image.format != "PNG" or image.mode not in ("L", "P"):  # P: the pixels are the ids, too
            raise TypeError(f"{image.format}, mode {image.mode}")
        if image.width * image.height > LARGEST:
            raise ValueError(f"{image.width}x{image.height} pixels")
        return np.asarray(image)


@METRICS.register_module()
class PredictionWriter(BaseMetric):
    """Writes each prediction as a PNG of train ids, named as its image, and scores nothing.

    Args:
        folder: that exists, and all processes share.
        **kwargs: as for `BaseMetric`.
    """

    def __init__(self, folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = Path(folder)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Write one batch.

        Raises:
            UserError: for a model whose classes are not those of Cityscapes.
        """
        if tuple(self.dataset_meta["classes"]) != CLASSES:
            raise UserError(
                f"a submission to Cityscapes needs its {len(CLASSES)} classes, and this data set "
                f"has {len(self.dataset_meta['classes'])}, {self.dataset_meta['classes'][0]} first"
                "\n  do         give a config for Cityscapes"
            )
        for sample in data_samples:
            labels = sample["pred_sem_seg"]["data"].squeeze(0).cpu().numpy().astype(np.uint8)
            _, png = cv2.imencode(".png", labels)
            path = self.folder / Path(sample["img_path"]).with_suffix(".png").name
            path.write_bytes(png.tobytes())

    def evaluate(self, size: int) -> dict[str, float]:
        """Nothing: predictions without a truth have no score."""
        return self.compute_metrics([])

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Nothing."""
        return {}
