"""Train a model: python tools/train.py configs/psa_deeplabv3plus_cityscapes.py [--demo]."""

import argparse
from pathlib import Path

from mmengine.config import Config

from psa_seg.engine import distributed, launch, options, tool
from psa_seg.engine.work_dir import choose_work_dir


def main() -> None:
    """Read the command line, train."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument("config", help="a file from configs/, or one of your own")
    parser.add_argument("--resume", action="store_true", help="go on with the last run")
    parser.add_argument("--auto-resume", action="store_true", help="go on, or start")
    parser.add_argument("--amp", action="store_true", help="mixed precision (GPU)")
    parser.add_argument("--seed", type=int, help="of weights, crops and their order")
    parser.add_argument(
        "--checkpoint-activations", action="store_true", help="less memory, for more time"
    )
    parser.add_argument(
        "--log-to", nargs="+", choices=options.BACKENDS, default=[], help="besides the log"
    )
    parser.add_argument(
        "--profile",
        nargs="?",
        type=int,
        const=5,
        metavar="STEPS",
        help="record a few steps, and stop",
    )
    tool.common_arguments(parser)
    args = parser.parse_args()

    distributed.start(args.launcher)
    config = distributed.once(lambda: configure(args), each_node=True)
    given = args.work_dir or config.get("work_dir")
    config.work_dir = distributed.once(lambda: choose_work_dir(name(args), given, config.resume))
    launch.train(config, must_resume=args.resume)


def configure(args: argparse.Namespace) -> Config:
    """The config that the command line describes."""
    seed = {} if args.seed is None else {"randomness.seed": args.seed}
    config = tool.read_config(args, seed)
    config.resume = args.resume or args.auto_resume or config.resume
    config.checkpoint_activations |= args.checkpoint_activations
    if args.amp:
        options.use_amp(config)
    options.log_to(config, args.log_to, name(args))
    if args.profile is not None:
        options.profile(config, args.profile)
    return config


def name(args: argparse.Namespace) -> str:
    """What the run is called."""
    parts = [Path(args.config).stem, "demo" * args.demo]
    parts += [f"seed{args.seed}" if args.seed is not None else "", "profile" * bool(args.profile)]
    return "_".join(filter(None, parts))


if __name__ == "__main__":
    tool.run(main, "it goes on with --resume from its last checkpoint")
