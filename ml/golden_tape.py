"""The golden tape slice: rows in, features expected, run through the features' own kernel."""

from ml.artifact import LoadedModel


def check_tape(loaded: LoadedModel) -> None:
    """Do nothing where no tape slice lies beside the model."""
    if not len(loaded.golden.tape_rows):
        return
