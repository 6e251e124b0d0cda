"""The one error of this room; app/command_line.py turns it into exit code 2."""


class ConfigProblem(ValueError):
    """One line: file, line, key, value, what is allowed, and the nearest known key."""
