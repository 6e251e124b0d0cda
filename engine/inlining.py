"""Makes numba's `inline="always"` quick: code that was read for one call is not copied again.

numba copies what it merges into a caller twice, with all variables of the function once for each of
its blocks: a third of the compile time of `advance`. It needs the copies where the code is kept; an
`inline="always"` function is read anew for each call. The machine code is the same, bit for bit.
"""

from types import FunctionType, SimpleNamespace
from typing import Any

from numba.core import inline_closurecall
from numba.core.inline_closurecall import InlineWorker


def _same(code: Any) -> Any:
    return code


def merge_fresh_code() -> None:
    """Let numba merge functions without copying them first, from now on."""
    merge = InlineWorker.inline_ir
    world = {**vars(inline_closurecall), "copy": SimpleNamespace(deepcopy=_same)}
    merge_uncopied = FunctionType(merge.__code__, world, merge.__name__, merge.__defaults__)

    def inline_function(worker: Any, caller: Any, block: Any, at: int, *more: Any) -> Any:
        """Merge a function into its caller at a statement of a block."""
        function, *types = more
        code = worker.run_untyped_passes(function)
        free = function.__code__.co_freevars
        return merge_uncopied(worker, caller, block, at, code, free, *types)

    InlineWorker.inline_function = inline_function
