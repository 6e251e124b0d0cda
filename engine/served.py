"""Which versions of a model served in a run: what a summary tells beside the one at the end."""

import msgspec


class ServedVersion(msgspec.Struct, kw_only=True):
    """A version that served.

    Attributes:
        version: in the registry.  sha256: of its file.
        from_row: of the tape: its first swap, 0 for what the run began with.
        times: how often it came to serve.
    """

    version: str
    sha256: str
    from_row: int
    times: int = 1
