"""The error of everything that reads recorded data."""


class DatasetError(ValueError):
    """A dataset, or a file that belongs to one, is missing, damaged or not as expected.

    The message names the file, the episode and frame if there are any, and the remedy.
    """


class DatasetNotFoundError(DatasetError, FileNotFoundError):
    """There is no dataset, or no labels, where one was looked for."""
