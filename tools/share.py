"""Write a trained model as a folder for others: weights, config and card.

python tools/share.py iter_80000.pth my-model --licence CC-BY-4.0
"""

from pathlib import Path

from psa_seg.engine import given, tool


def main() -> None:
    """Read the command line, write the folder."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument(
        "checkpoint", help="Trained weights, such as iter_80000.pth; they tell their config."
    )
    parser.add_argument(
        "out", type=Path, help="Folder to write, new or empty; its name is the model's."
    )
    parser.add_argument("--licence", default="", help="Licence of the data that it was trained on.")
    parser.add_argument(
        "--records",
        type=Path,
        help="Folder with records of its other seeds, for an interval of its score.",
    )
    tool.trust_argument(parser)
    args = parser.parse_args()
    given.check("share", [given.Place("CHECKPOINT", args.checkpoint, given.OF_CHECKPOINTS)])

    tool.import_quietly()
    from psa_seg.inference.share import share

    scored = share(args.checkpoint, args.out, args.licence, args.records)
    if not scored:
        print("no record.json of this step lies beside the checkpoint: the card has no score")
    print(
        f"wrote {args.out}: model.safetensors, config.json, README.md (its card: read it)\n"
        f'load it     psa_seg.load("{args.out}")\n'
        f"upload it   hf upload USER/{args.out.name} {args.out}"
    )


if __name__ == "__main__":
    tool.run(main)
