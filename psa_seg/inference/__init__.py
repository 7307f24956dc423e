"""A trained model and pictures of one's own: `load`, what it gives, and what a folder becomes.

checkpoint -> stored.read   its config as data (`untrusted`), model, pipelines, names, colours
           -> Segmenter     pictures in, `Segmentation`s out: whole, in tiles, augmented
           -> export        a file for other runtimes, and `quantized`; `share`: for other people
pictures   -> inputs.find   files, folders, patterns, lists, videos; a place for each
           -> predict       one after the other, into the files of `outputs`
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from psa_seg.engine.tool import ignore_warnings, import_quietly

KINDS = ("overlay", "labels", "colours", "confidence", "scores", "gates")  # of `outputs`

if TYPE_CHECKING:
    from psa_seg.inference.segmenter import Segmenter


def load(path: str | Path, config: str | None = None, device: str | None = None) -> "Segmenter":
    """A trained model from its checkpoint alone: `load("iter_4000.pth")("street.jpg").overlay()`.

    Args:
        path: of the checkpoint, or of a folder that `tools/share.py` wrote, or such a model's name
            on the Hugging Face Hub, `user/name`. Its config is read as data; nothing in it is run.
        config: path of a config to take in place of that; it is a program, and run.
        device: `cpu`, `cuda:1`; by default a GPU, if there is one.

    Raises:
        UserError: where the file is no checkpoint, does not tell its config, or is of another
            model.
    """
    import_quietly()
    with warnings.catch_warnings():
        ignore_warnings()
        from psa_seg.inference.segmenter import Segmenter

        return Segmenter(path, config, device)
