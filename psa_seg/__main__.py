"""`python -m psa_seg` is `psa-seg`."""

from psa_seg import command, shipped

if __name__ == "__main__":
    command.main(shipped.MODULE)
