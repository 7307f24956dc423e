"""What a path that somebody gave is, by its name and a short look: for messages alone."""

import re
from pathlib import Path

IMAGES = {
    *(".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".jp2", ".avif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".sr", ".ras", ".gif"),
}  # that OpenCV decodes, and Pillow, too, which reads their headers
VIDEOS = {
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv"),
}
WEIGHTS = {".pth", ".pt", ".ckpt", ".safetensors"}

CONFIG, CHECKPOINT, PICTURE, VIDEO = "a config", "a checkpoint", "a picture", "a video"
DATA_FILE, EXPERIMENT, ZIP = "a data.yaml", "an experiment", "a zip"
DATA, PICTURES, RUN = "a folder of images and masks", "a folder of pictures", "a work directory"
SUFFIXES = {
    ".py": CONFIG,
    ".zip": ZIP,
    **dict.fromkeys(WEIGHTS, CHECKPOINT),
    **dict.fromkeys(IMAGES, PICTURE),
    **dict.fromkeys(VIDEOS, VIDEO),
}
KEYS = {r"^(seeds|attentions)\s*:": EXPERIMENT, r"^(masks|names)\s*:": DATA_FILE}  # of a YAML


def kind(path: Path) -> str:
    """What is at `path`, or would be by its name; empty for what is none of these."""
    try:
        if path.is_dir():
            return _of_folder(path)
        if not path.is_file() or path.suffix.lower() not in (".yaml", ".yml"):
            return SUFFIXES.get(path.suffix.lower(), "")
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    return next((kind for key, kind in KEYS.items() if re.search(key, text, re.M)), "")


def _of_folder(folder: Path) -> str:
    names = {path.name for path in folder.iterdir()}
    if "model.safetensors" in names:
        return CHECKPOINT
    if "data.yaml" in names or {"images", "masks"} <= names:
        return DATA
    if "record.json" in names or any(re.fullmatch(r"iter_\d+\.pth", name) for name in names):
        return RUN
    return PICTURES if any(Path(name).suffix.lower() in IMAGES for name in names) else ""
