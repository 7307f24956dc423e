"""Score a checkpoint: python tools/test.py CONFIG CHECKPOINT [--tta] [--official] [--demo]."""

from psa_seg.engine import tool


def main() -> None:
    """Read the command line, test."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument("config", help="the config that the checkpoint was trained with")
    parser.add_argument("checkpoint")
    parser.add_argument("--tta", action="store_true", help="average over six scales and a flip")
    parser.add_argument(
        "--official", action="store_true", help="add IoU and iIoU as Cityscapes' server counts them"
    )
    parser.add_argument(
        "--also",
        nargs="+",
        choices=["boundary", "f1", "calibration"],
        default=[],
        help="boundary IoU, F1 within two pixels, expected calibration error",
    )
    parser.add_argument("--show-dir", help="draw image, truth, prediction, errors of each into it")
    tool.common_arguments(parser)
    args = parser.parse_args()

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
