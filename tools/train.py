"""Train a model: python tools/train.py configs/psa_deeplabv3plus_cityscapes.py [--demo]."""

import argparse
from pathlib import Path

from psa_seg.engine import launch, tool


def main() -> None:
    """Read the command line, train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="a file from configs/, or one of your own")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--amp", action="store_true", help="mixed precision (GPU)")
    parser.add_argument("--seed", type=int, help="of weights, crops and their order")
    tool.common_arguments(parser)
    args = parser.parse_args()

    config = tool.read_config(args)
    config.resume = args.resume or config.resume
    if args.seed is not None:
        config.randomness.seed = args.seed
    name = Path(args.config).stem + ("_demo" if args.demo else "")
    name += f"_seed{args.seed}" if args.seed is not None else ""
    config.work_dir = launch.choose_work_dir(name, args.work_dir, config.resume)
    launch.train(config, amp=args.amp, must_resume=args.resume)


if __name__ == "__main__":
    tool.run(main)
