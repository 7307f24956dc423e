"""Train a model, and score it on the validation images as it learns.

python tools/train.py configs/psa_deeplabv3plus_cityscapes.py --demo
"""

import sys

from psa_seg import kinds
from psa_seg.engine import given, tool


def main() -> None:
    """Read the command line, train."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument(
        "config",
        type=tool.not_empty,
        help="Config of model, data and training: its name, such as psa_deeplabv3plus_cityscapes, "
        "or a file.",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="Go on from the last checkpoint in --work-dir, or of the last run of this name.",
    )
    parser.add_argument(
        "--auto-resume",
        action="store_true",
        help="Go on as with --resume if there is a checkpoint, or else start.",
    )
    parser.add_argument(
        "--amp",
        action="store_true",
        help="Train in mixed precision, which takes less time and memory.",
    )
    parser.add_argument(
        "--seed",
        type=int,
        help="Seed of weights, crops and their order: a whole number (default: the config's).",
    )
    parser.add_argument(
        "--checkpoint-activations",
        action="store_true",
        help="Compute activations twice: less memory, for more time.",
    )
    parser.add_argument(
        "--log-to",
        nargs="+",
        choices=tool.BACKENDS,
        default=[],
        help="Send losses and scores to these, too, besides the log.",
    )
    parser.add_argument(
        "--profile",
        nargs="?",
        type=int,
        const=5,
        metavar="STEPS",
        help="Record this many steps with PyTorch's profiler, and stop (without a number: 5).",
    )
    tool.common_arguments(parser)
    given.refuse_resumed(sys.argv[1:])
    args = parser.parse_args()
    given.check("train", [given.Place("CONFIG", args.config, [kinds.CONFIG])], given.FOR_TRAINING)

    tool.import_quietly()
    from psa_seg.engine import distributed, launch, prepare

    distributed.start(args.launcher)
    launch.train(prepare.training_of(args))


if __name__ == "__main__":
    tool.run(main, "with --resume it goes on from the last checkpoint, if there is one")
