"""Imports without what nobody uses: packages that others only look for, and that load for long."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """Let these packages seem not to be installed, unless they are imported already.

    Example:
        >>> with without("this"):
        ...     import this
        Traceback (most recent call last):
        ModuleNotFoundError: import of this halted; None in sys.modules
        >>> "this" in sys.modules
        False
    """
    hidden = [name for name in names if name not in sys.modules]
    try:
        for name in hidden:
            sys.modules[name] = None  # type: ignore[assignment]
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def load_numba() -> None:
    """Import numba without scipy, which it would take a BLAS from: no kernel of ours wants one."""
    with without("scipy"):
        import numba.np.arraymath  # noqa: F401
