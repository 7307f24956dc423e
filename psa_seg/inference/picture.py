"""A picture on its way to the network: from a file, a PIL image or an array."""

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import mmcv
import numpy as np
from mmengine.dataset import Compose
from PIL import Image, ImageOps

from psa_seg import shipped
from psa_seg.datasets.headers import header
from psa_seg.datasets.loading import fault
from psa_seg.errors import DataError, UserError
from psa_seg.files import disk_error
from psa_seg.kinds import VIDEOS

Picture = str | Path | np.ndarray | Image.Image


class Item(NamedTuple):
    """A picture on its way to the network."""

    image: np.ndarray  # as it was loaded, BGR
    data: dict[str, Any]  # as the pipeline gives it
    path: str | None  # of an array, none

    @property
    def size(self) -> Any:
        """What pictures that are seen at once have in common."""
        inputs = self.data["inputs"]
        return [view.shape for view in inputs] if isinstance(inputs, list) else inputs.shape


def load_picture(load: Any, rest: Compose, picture: Picture, bgr: bool) -> Item:
    """A picture as it goes into the network.

    Raises:
        UserError: where it cannot be read, or is no picture.
    """
    if isinstance(picture, str | Path):
        results = _read(load, Path(picture))
    else:
        if (wanted := getattr(load, "color_type", "color")) != "color":
            raise UserError(
                f"the config loads pictures as {wanted!r}, which an array is not\n"
                "  do         give paths"
            )
        image = _as_bgr(picture, bgr)
        image = image.astype(np.float32) if getattr(load, "to_float32", False) else image
        shape = image.shape[:2]
        results = dict(img=image, img_path=None, img_shape=shape, ori_shape=shape)
    image = results["img"]
    try:
        return Item(image, rest(results), results["img_path"])
    except cv2.error as error:  # a strip, of which scaling leaves nothing
        height, width = image.shape[:2]
        where = results["img_path"] or "the array"
        raise DataError(
            f"the pipeline does not take {width}x{height} pixels: {where}\n"
            f"  because    {error.err}\n  do         cut it, or pad it"
        ) from None


def _read(load: Any, path: Path) -> dict[str, Any]:
    if path.suffix.lower() in VIDEOS:
        raise DataError(f"a video, and no picture: {path}\n  do         {shipped.words('predict')}")
    try:
        header(path)  # before anything decodes it
    except OSError as error:  # one that may not be read, of many
        raise DataError(str(disk_error(error))) from error
    info = {"img_path": str(path)}
    try:
        return load(dict(info))
    except Exception:
        found = fault(info)
        if found is None:
            raise
        raise DataError(found) from None


def _as_bgr(picture: Any, bgr: bool) -> np.ndarray:
    if isinstance(picture, Image.Image):
        try:
            picture, bgr = ImageOps.exif_transpose(picture), False
            picture.load()
        except OSError as error:  # a file is decoded when it is needed
            raise DataError(
                f"no picture: a PIL image that cannot be decoded\n  because    {error}\n"
                "  do         copy or export it again"
            ) from error
        if picture.mode.startswith("I;16"):  # Pillow would clip; files are scaled, 65535 is white
            picture = (np.asarray(picture) >> 8).astype(np.uint8)
        elif picture.mode in ("I", "F"):
            raise UserError(
                f"no picture: a PIL image of mode {picture.mode}, whose white is not known\n"
                "  do         convert it to RGB or L"
            )
        else:
            picture = np.asarray(picture.convert("RGB"))
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        kind = getattr(picture, "dtype", type(picture).__name__)
        raise UserError(
            f"no picture: {kind}\n"
            "  do         give a path, a PIL image, or a uint8 array [H, W, 3], RGB"
        )
    if picture.ndim == 2:
        picture = np.stack([picture] * 3, axis=2)
    if picture.ndim == 3 and picture.shape[2] == 4:  # alpha is left out, as of files
        picture = picture[..., :3]
    if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise UserError(
            f"no picture: an array of {list(picture.shape)}\n"
            "  do         give [H, W, 3], red, green and blue; or [H, W]"
        )
    return np.ascontiguousarray(picture if bgr else mmcv.rgb2bgr(picture))
