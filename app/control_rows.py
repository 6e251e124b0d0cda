"""The rows at which the kernel stops for Python: answers, halts, commands, swaps; and samples."""

from app.demotion import Hands, demote
from app.parts import Parts
from app.slot_ports import port_of
from app.slots import places_of
from app.swap import bind
from engine.control_log import SWAP_EVENT, swap_text
from engine.events import Command
from engine.kernel.layout import WORD
from engine.kernel.state import KernelState
from engine.row_words import row_at
from engine.rows import Kind
from risk.gate import allow

ROW = WORD["row"]


def control(parts: Parts) -> None:
    """Act on the row at which the kernel stopped for Python."""
    rows, first_row, _ = parts.window
    row = row_at(rows, parts.state.words[ROW] - first_row)
    if row["kind"] in (Kind.SIGNAL, Kind.OUTPUT):
        parts.model_answers.on_row(row)
    elif row["kind"] == Kind.STATUS:
        parts.desk.on_halt(int(row["instrument"]))
    elif row["kind"] != Kind.CONTROL:
        if parts.answers is not None:
            parts.answers.on_row(row)
    elif row["i0"] == Command.SWAP:
        swap_at(parts, int(row["i1"]), int(row["i2"]), int(row["i3"]))
    elif row["i0"] == Command.DEMOTE:
        parts.shadows.settle()
        hands = Hands(parts.gate, parts.recorder, states_of(parts))
        demote(parts.models, parts.plans, hands, row)
    else:
        parts.desk.on_command(int(row["i0"]), int(row["i1"]), int(row["i2"]))


def sample(parts: Parts) -> None:
    """Keep a point of the equity curve and of the prices."""
    parts.kernel.gate_mark(parts.state.address)
    parts.portfolio.mark(parts.state.markets["mid"])
    parts.samples.take(parts.state, parts.gate.record)


def swap_at(parts: Parts, reference: int, index: int, word: int) -> None:
    """Let a model go over to another version: the kernel stands behind the swap row.

    The model's place stays as it is: threshold, weight, limit, books, what is in flight.
    """
    parts.shadows.settle()  # by the version that goes
    serving = parts.models[index] if 0 <= index < len(parts.models) else None
    swap = parts.swaps.take(reference, serving, word)
    if serving is None or swap is None:  # a tape of another run, or settings of today
        parts.recorder.event(7, "swap_passed", f"control line {reference}", (reference, index))
        return
    states = states_of(parts)
    for slot, at, number in places_of(parts.plans):
        if slot.serving is serving:
            parts.model_answers.close(at)  # what was asked of the version that goes
            bind(slot, at, number, states, (parts.specs, parts.instruments))
            parts.shadows.admit(at)
            parts.pipeline.replace(at, port_of(slot, parts.state, at))
    allow(parts.gate, index, serving.may_trade)
    threshold = max((p.threshold for p in parts.plans if p.serving is serving), default=0.0)
    words = (index, int(serving.status), serving.sha256, threshold)
    parts.recorder.model(*words, shadow=serving.is_shadow)
    parts.recorder.event(6, SWAP_EVENT, swap_text(swap), (index, reference))
    parts.swaps.done(serving, parts.state.words[ROW])


def states_of(parts: Parts) -> list[KernelState]:
    """Return the state that trades, and the one that runs ahead where there is one."""
    return [parts.state] if parts.ahead is None else [parts.state, parts.ahead.ahead]
