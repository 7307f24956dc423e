"""A dozen drawn images with masks, as somebody's folder."""

import numpy as np
from PIL import Image

SIZE = (64, 48)  # width, height
SPLITS = {"train": 8, "val": 4}


def scene(number, classes=3, size=SIZE):
    """A photograph, so to speak, RGB, and its mask in class numbers: bands that lean."""
    rng = np.random.default_rng(number)
    x, y = np.meshgrid(*(np.arange(side) for side in size))
    mask = ((x * 2 + y + 7 * number) * classes // 72 % classes).astype(np.uint8)
    hues = np.array([[40, 90, 160], [190, 150, 60], [70, 170, 80], [200, 60, 60]], np.uint8)
    image = hues[mask % 4] + rng.integers(0, 40, (*mask.shape, 3))
    return image.astype(np.uint8), mask


def draw(root, save=None, suffix=".png", classes=3):
    """Write images/{train,val} and masks/{train,val} below `root`.

    Args:
        root: folder.
        save: (mask in class numbers, path) → the file; by default, one channel as it is.
        suffix: of the masks.
        classes: how many.
    """
    number = 0
    for split, count in SPLITS.items():
        for kind in ("images", "masks"):
            (root / kind / split / "deep").mkdir(parents=True, exist_ok=True)
        for i in range(count):
            image, mask = scene(number, classes)
            name = f"deep/{i}" if i % 2 else f"{i}"
            Image.fromarray(image).save(root / "images" / split / f"{name}.jpg", quality=95)
            path = root / "masks" / split / f"{name}{suffix}"
            if save:
                save(mask, path)
            else:
                Image.fromarray(mask).save(path)
            number += 1
    return root


def describe(root, text="", names="[a, b, c]", name="data.yaml"):
    """A data.yaml for `draw`'s layout with more lines in it."""
    path = root / name
    path.write_text(
        "images: {train: images/train, val: images/val}\n"
        f"masks: {{train: masks/train, val: masks/val}}\nnames: {names}\n{text}\n"
    )
    return path
