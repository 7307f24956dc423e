"""Lay CrackForest out as its experiments read it: python -m benchmarks.crackforest CLONE OUT.

CLONE is one of https://github.com/cuilimeng/CrackForest-dataset, with `image/*.jpg` and
`groundTruth/*.mat`; OUT is then what CRACKFOREST_ROOT names. For research, not for trade.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat

TRAIN = """
001 005 007 009 010 014 015 016 018 023 024 025 026 027 028 029 030 031 032 033 034 035 036 037
038 040 042 043 044 045 049 050 055 057 058 059 063 064 068 070 071 073 074 075 076 078 080 084
086 088 089 090 092 094 095 097 098 099 101 102 103 104 105 106 107 109 113 115 117 118
"""
VAL = """
002 003 004 011 013 017 019 041 046 048 053 067 077 079 081 083 085 087 093 100 108 110 112 114
"""
VALUES = np.array([0, 0, 255, 128, 128], np.uint8)  # of 1 background, 2 crack, and two rarer marks


def mask(path: Path) -> np.ndarray:
    """The mask of a .mat file, `[H, W]`, uint8: 255 crack, 128 to be ignored, 0 the rest."""
    marks = loadmat(path)["groundTruth"]["Segmentation"].item()
    values: np.ndarray = VALUES[marks]
    return values


def main() -> None:
    """Copy the images, write the masks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clone", type=Path, help="Clone of the data set's repository.")
    parser.add_argument("out", type=Path, help="New folder, to be CRACKFOREST_ROOT.")
    args = parser.parse_args()
    images = {stem: args.clone / "image" / f"{stem}.jpg" for stem in (TRAIN + VAL).split()}
    truths = {stem: args.clone / "groundTruth" / f"{stem}.mat" for stem in images}
    for path in (*images.values(), *truths.values()):
        if not path.is_file():
            parser.error(f"{path} is not there: is {args.clone} a clone of CrackForest?")
    if args.out.exists():
        parser.error(f"{args.out} exists, and stays: name a new folder")
    for split, stems in (("train", TRAIN.split()), ("val", VAL.split())):
        for kind in ("images", "masks"):
            (args.out / kind / split).mkdir(parents=True)
        for stem in stems:
            shutil.copy(images[stem], args.out / "images" / split)
            marks = Image.fromarray(mask(truths[stem]))
            marks.save(args.out / "masks" / split / f"{stem}.png")
    print(f"wrote {len(TRAIN.split())} and {len(VAL.split())} images: CRACKFOREST_ROOT={args.out}")


if __name__ == "__main__":
    main()
