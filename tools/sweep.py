"""Train all runs of an experiment that have no record yet.

python tools/sweep.py trial.yaml --list
"""

import sys

from psa_seg import kinds
from psa_seg.engine import given, tool
from psa_seg.errors import BusyError


def main() -> None:
    """Read the command line, run what is missing."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument(
        "experiment",
        help="YAML of the experiment, which python -m pydoc psa_seg.sweep.experiment shows.",
    )
    parser.add_argument(
        "--gpus",
        type=int,
        nargs="+",
        help="Numbers of the GPUs to use (default: all that there are).",
    )
    parser.add_argument(
        "--at-once",
        type=int,
        default=1,
        help="Runs at once on each GPU, or on the CPU (default: %(default)s).",
    )
    parser.add_argument(
        "--work-dirs", default="work_dirs", help="Folder in which runs work (default: %(default)s)."
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--list", action="store_true", help="List the runs and which have a record, and train none."
    )
    what.add_argument(
        "--run", metavar="RUN", help="Train this one alone, by its name or number in --list."
    )
    what.add_argument(
        "--slurm", action="store_true", help="Print a script for Slurm's sbatch, and train none."
    )
    args = parser.parse_args()
    given.check("sweep", [given.Place("EXPERIMENT", args.experiment, [kinds.EXPERIMENT])])

    tool.import_quietly()
    from psa_seg.engine.demo import NOTICE, NOTICE_OF_OWN
    from psa_seg.sweep import many, one, read_experiment, slurm

    experiment = read_experiment(args.experiment, args.work_dirs)
    if experiment.demo:
        notice = NOTICE_OF_OWN if experiment.data else NOTICE
        print(f"*** {notice} ***", file=sys.stderr)
    if args.list:
        missing = {run.name for run in experiment.missing()}
        for number, run in enumerate(experiment.runs):
            print(f"{number:3} {'missing ' if run.name in missing else 'recorded'} {run.name}")
    elif args.slurm:
        print(slurm.array_script(experiment), end="")
    else:
        try:
            if args.run is not None:
                one.train(experiment, experiment.find(args.run))
            else:
                many.run_all(experiment, many.places(args.gpus, args.at_once))
        except BusyError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(one.BUSY)


if __name__ == "__main__":
    tool.run(main, "the same command goes on")
