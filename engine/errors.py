"""The one tree of operating errors.

    TickgateError                     anything that a person is told in one line
    |- UsageError                     bad command line, path, config or input: exit code 2
    |  |- ConfigError                 file, key, value, what is allowed
    |  `- DataError                   a data file, tape or run that cannot be used
    |- ModelError                     a model artifact that is missing or refused
    `- RunError                       a run that could not go on: exit code 1
       |- JournalError                the account's journal takes no more: no order may leave
       `- VenueError                  a venue that cannot be used as it is

Programmer errors are asserts. Refusals (risk, warm-up, stale data) are values, see events.py.
"""


class TickgateError(Exception):
    """Base of every operating error. The message is one line that helps, with no secret in it."""


class UsageError(TickgateError):
    """The command cannot be carried out as given."""


class ConfigError(UsageError):
    """A setting is unknown, missing, doubled or out of range."""


class DataError(UsageError):
    """A data file, tape or run folder is missing, empty, torn or of the wrong shape."""


class ModelError(TickgateError):
    """A model artifact is missing, corrupt, or not what the registry says."""


class RunError(TickgateError):
    """The run cannot go on."""


class JournalError(RunError):
    """The account's journal cannot take a record, or cannot promise that it is kept."""


class VenueError(RunError):
    """A venue refused, or could not be reached. The message holds no text of the venue's."""
