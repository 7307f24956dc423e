"""Train a model: python tools/train.py configs/psa_deeplabv3plus_cityscapes.py [--demo]."""

from psa_seg.engine import tool


def main() -> None:
    """Read the command line, train."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument("config", help="a file from configs/, or one of your own")
    parser.add_argument("--resume", action="store_true", help="go on with the last run")
    parser.add_argument("--auto-resume", action="store_true", help="go on, or start")
    parser.add_argument("--amp", action="store_true", help="mixed precision: less time, and memory")
    parser.add_argument("--seed", type=int, help="of weights, crops and their order")
    parser.add_argument(
        "--checkpoint-activations", action="store_true", help="less memory, for more time"
    )
    parser.add_argument(
        "--log-to", nargs="+", choices=tool.BACKENDS, default=[], help="besides the log"
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

    tool.import_quietly()
    from psa_seg.engine import distributed, launch, prepare

    distributed.start(args.launcher)
    launch.train(prepare.training_of(args))


if __name__ == "__main__":
    tool.run(main, "with --resume it goes on from the last checkpoint, if there is one")
