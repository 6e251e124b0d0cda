"""What is merged without copies is the machine code that numba's own way makes."""

import copy
import re
from typing import Any

import pytest
from numba import njit
from numba.core.inline_closurecall import InlineWorker
from numba.core.ir import Block

from engine.inlining import merge_fresh_code

NUMBAS_WAY = """
def inline_function(self, caller, block, i, function, arg_typs=None):
    code = self.run_untyped_passes(function)
    return self.inline_ir(caller, block, i, code, function.__code__.co_freevars, arg_typs)
"""
PROGRAM = """
@njit(inline="always")
def clipped(x, low):
    y = x
    if x < low:
        y = low
    return y


@njit(inline="always")
def summed(n, low):
    total = 0
    for i in range(n):
        total += clipped(i * 7 % 5, low)
        if total > 1000:
            return -clipped(total, low)
    return total


@njit("int64(int64, int64)")
def program(n, low):
    return summed(n, low) + clipped(n, low) * summed(low, n)
"""


def compiled() -> tuple[Any, str]:
    """Compile the program; return it and its assembly without the numbers that name things."""
    world: dict[str, Any] = {"njit": njit, "__name__": "merged"}
    exec(PROGRAM, world)
    program = world["program"]
    (text,) = program.inspect_asm().values()
    return program, re.sub(r"(?:_ZN|\.const|\.numba|\.L|_)[\w.$]*", "name", text)


def test_the_machine_code_is_that_of_numbas_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[type] = []
    deepcopy = copy.deepcopy

    def counted(thing: Any, memo: Any = None) -> Any:
        copies.append(type(thing))
        return deepcopy(thing, memo)

    monkeypatch.setattr(copy, "deepcopy", counted)
    world: dict[str, Any] = {}
    exec(NUMBAS_WAY, world)
    monkeypatch.setattr(InlineWorker, "inline_function", world["inline_function"])
    usual, usual_text = compiled()
    assert Block in copies
    copies.clear()
    merge_fresh_code()
    merged, text = compiled()
    assert Block not in copies
    assert text == usual_text
    for n, low in ((0, 0), (5, 2), (400, 3), (3, 400)):
        assert merged(n, low) == usual(n, low) == usual.py_func(n, low)
