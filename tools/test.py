"""Score a trained model on the test images of its config.

python tools/test.py configs/psa_deeplabv3plus_cityscapes.py iter_80000.pth --show-dir pictures
"""

from psa_seg import kinds
from psa_seg.engine import given, tool


def main() -> None:
    """Read the command line, test."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument("config", help="Config that the checkpoint was trained with.")
    parser.add_argument("checkpoint", help="Trained weights, such as iter_80000.pth.")
    parser.add_argument(
        "--tta",
        action="store_true",
        help="Average over scales and flips of each image: better, and slower.",
    )
    parser.add_argument(
        "--official",
        action="store_true",
        help="Add IoU and iIoU as Cityscapes' server counts them.",
    )
    parser.add_argument(
        "--also",
        nargs="+",
        choices=["boundary", "f1", "calibration"],
        default=[],
        help="Score these, too: boundary IoU, F1 within two pixels, expected calibration error.",
    )
    parser.add_argument(
        "--show-dir",
        help="New folder for a picture of each image: image, truth, prediction, errors.",
    )
    tool.common_arguments(parser)
    args = parser.parse_args()
    places = [
        given.Place("CONFIG", args.config, [kinds.CONFIG]),
        given.Place("CHECKPOINT", args.checkpoint, given.OF_CHECKPOINTS),
    ]
    given.check("test", places, {kinds.CHECKPOINT: "test CONFIG {}"})

    tool.import_quietly()
    from psa_seg.engine import distributed, launch, prepare

    distributed.start(args.launcher)
    config = distributed.once(lambda: prepare.read(args), each_node=True)
    run = prepare.scoring(
        config, args.checkpoint, args.tta, args.show_dir, args.official, args.also
    )
    launch.test(run)


if __name__ == "__main__":
    tool.run(main)
