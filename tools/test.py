"""Score a checkpoint: python tools/test.py CONFIG CHECKPOINT [--tta] [--show-dir DIR] [--demo]."""

import argparse
from pathlib import Path

from psa_seg.engine import launch, tool
from psa_seg.engine.config import load_config, override
from psa_seg.engine.demo import make_demo


def main() -> None:
    """Read the command line, test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="the config that the checkpoint was trained with")
    parser.add_argument("checkpoint")
    parser.add_argument("--tta", action="store_true", help="average over six scales and a flip")
    parser.add_argument("--show-dir", help="write image, truth and prediction of each image here")
    tool.common_arguments(parser)
    args = parser.parse_args()

    config = load_config(args.config)
    if args.demo:
        make_demo(config)
    override(config, args.cfg_options)
    config.launcher = args.launcher
    config.work_dir = args.work_dir or str(Path(args.checkpoint).parent / "test")
    launch.evaluate(config, args.checkpoint, tta=args.tta, show_dir=args.show_dir)


if __name__ == "__main__":
    tool.run(main)
