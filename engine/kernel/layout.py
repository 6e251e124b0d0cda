"""The kernel's state: records with fixed places, shared by address between jitted code and Python.

One root record holds counters and the addresses of the arrays. The words that Python reads at every
stop stand first, so that a memoryview of int64 reads them by index (`WORD`).
"""

from enum import IntEnum, IntFlag

import numpy as np

from engine.limits import MAX_OUTPUTS


class Reason(IntFlag):
    """Why `advance` returned. Several may be set; Python acts in the order of the bits."""

    VENUE = 1  # acknowledgements, fills, rejects, cancels or triggers wait in `out`
    CONTROL = 2  # a row that Python must handle (venue answers, control)
    INFER = 4  # run the model of `slot`, its input stands in the slot's x
    SIGNAL = 8  # the signal of `slot` is advice that a strategy wants
    FLUSH = 16  # the audit buffer wants to be written
    SAMPLE = 32  # time to sample the equity
    BATCH = 64  # the next decisions of the batched slot should be evaluated ahead
    BLOCK = 128  # the row limit of one call
    HEAD = 256  # everything on the tape is consumed
    ASK = 512  # the model of `slot` answers later: ask it, its input stands in the slot's x
    ANSWER = 1024  # an answer of the model of `slot` has come
    SESSION = 2048  # a regular session is over: see to what rests there


_WORDS = (
    "cursor",  # next row to apply
    "row",  # row of the current stop
    "now",  # kernel time, ns
    "slot",  # slot of the current stop
    "instrument",
    "out_count",
    "out_done",  # events of `out` that are settled already
    "audit_count",
    "touch_bid_tick",  # of `instrument` at a stop
    "touch_ask_tick",
    "calls",
    # the current or last signal, as the fields of engine/events.py's Signal stand
    "signal_id",
    "signal_ts",  # when the model behind it was asked
    "signal_row",
    "signal_instrument",
    "signal_model",
    "action",
    "hold_reason",
)
WORD = {name: k for k, name in enumerate(_WORDS)}

RARE_PARTS = "arrivals follow settle answers own output pend".split()
_ADDRESSES = (  # of the arrays
    "markets features matching bars slots models orders triggers out audit gate desk "
    "grids wallets books_of strategy_books ledger collect"
).split()

ROOT = np.dtype(
    [(name, "i8") for name in _WORDS]
    + [
        ("p_sell", "f8"),
        ("p_hold", "f8"),
        ("p_buy", "f8"),
        ("value", "f8"),  # what the model said beside, NaN where it said probabilities only
        ("position", "f8"),  # that it wants, -1..1, NaN where it says nothing of size
        ("implied_wakes", "i8"),
        ("bar_interval_ns", "i8"),
        ("bar_grace_ns", "i8"),
        ("max_data_age_ns", "i8"),
        ("max_jump", "f8"),
        ("jump_confirmations", "i8"),
        ("trigger_confirmations", "i8"),
        ("answers_on_tape", "i8"),  # 1: SIGNAL rows answer for models on threads, 0: the kernel
        ("max_answer_age_ns", "i8"),
        ("ahead", "i8"),  # 1: collect feature rows, no orders, no signals
        ("ahead_all", "i8"),  # Collected: which decisions are collected
        ("follows", "i8"),  # 1: another state runs ahead; features are its work, outputs in rings
        ("halted", "i8"),
        ("deciding", "i8"),  # 1 while due slots remain to be looked at
        ("due_slot", "i8"),
        ("past_ts", "i8"),  # not 0: windows take a row of the past, nothing is decided
        ("due_after", "i8"),  # 1: a wake comes with that row
        ("waiting", "i8"),  # 1: the model of due_slot runs, its output is awaited
        ("due_count", "i8"),
        ("decision_row", "i8"),
        ("next_arrival", "i8"),  # next things that time brings
        ("next_timer", "i8"),
        ("next_answer", "i8"),  # when the next model in service answers, NEVER where the tape does
        ("next_sample", "i8"),
        ("sample_ns", "i8"),
        ("audit_seq", "i8"),
        ("exposure_id", "i8"),
        ("decisions", "i8"),
        ("shadow_decisions", "i8"),
        ("requests", "i8"),  # to models on threads
        ("events", "i8"),  # rows applied
        ("dropped_crossed", "i8"),
        ("dropped_insane", "i8"),
        ("dropped_off_market", "i8"),
        ("late_trades", "i8"),
        ("first_ts", "i8"),
        ("n_instruments", "i8"),
        ("n_series", "i8"),  # further bars of each instrument, beside the base bars
        ("closed_series", "i8"),  # bits: which of these closed, of the instrument just moved
        ("paired", "i8"),  # 1 when an instrument is paired with another
        ("n_slots", "i8"),
        ("n_models", "i8"),
        ("state", "i8"),  # address of this record
        # addresses of parts that are compiled apart, app/desk_module.py
        *((f"rare_{part}", "i8") for part in RARE_PARTS),
        *((name, "i8") for name in _ADDRESSES),
        ("collect_count", "i8"),
        ("collect_capacity", "i8"),
        ("collect_x", "i8"),  # address of float32[capacity, collect_width]
        ("collect_width", "i8"),
        ("batches", "i8"),
        ("pending", "i8"),
        ("pending_count", "i8"),
        ("asked", "i8"),
        ("asked_x", "i8"),  # address of float32[n_slots * ASKED_PLACES, asked_width]
        ("asked_width", "i8"),
        ("sessions", "i8"),  # 0 in a run without calendars
        ("sessions_over", "i8"),
        ("asked_at", "i8"),  # place of the request whose answer is being settled
        ("audit_high", "i8"),  # records at which the audit buffer must be written
        ("needs_levels", "i8"),  # 1: features read the levels of the book, 2: their steps do too
        ("order_count", "i8"),
        ("order_high", "i8"),  # places of orders and triggers from here on are free
        ("trigger_count", "i8"),
        ("trigger_high", "i8"),
        ("waiting_open", "i8"),
    ],
    align=True,
)

MATCHING = np.dtype(
    [
        ("touch_from", "i8"),  # TouchFrom
        ("trusted", "i8"),  # 1 when the touch in force is whole: not crossed, insane or in a gap
        ("taken", "i8"),  # 1 while our fills have taken of the touch in force: used_bid, used_ask
        ("suspect", "i8"),  # updates in a row that were too far away to be believed at once
        ("suspect_mid", "f8"),
        ("updates", "i8"),  # touch, trade or bar updates so far
        ("bid_tick", "i8"),
        ("ask_tick", "i8"),
        ("used_bid", "f8"),  # what our own fills took from the displayed touch, base units
        ("used_ask", "f8"),
        ("assumed_notional", "f8"),  # size of a touch without size, quote units
        ("half_spread", "f8"),  # of a touch made from trades, as a share of the price
        ("waits_for_open", "i8"),  # 1: bars only, market orders fill at the next open
        ("best_buy", "i8"),  # our highest resting buy, NO_BUY where none
        ("best_sell", "i8"),  # our lowest resting sell, NO_SELL where none
        ("stop_below", "i8"),  # nearest trigger prices: fires when bid <= stop_below
        ("stop_above", "i8"),  # fires when ask >= stop_above
        ("resting", "i8"),
        ("triggers", "i8"),
        ("bid_used", "i8"),  # addresses of float64[BOOK_SLOTS]: taken from each level by us
        ("ask_used", "i8"),
        ("bid_ticks", "i8"),  # addresses of int64[BOOK_SLOTS]: which price a slot of the book holds
        ("ask_ticks", "i8"),
        ("book_ready", "i8"),
        ("min_book_tick", "i8"),
        ("max_book_tick", "i8"),
        ("slot_from", "i8"),  # its slots are slot_from .. slot_to
        ("slot_to", "i8"),
        ("tick_divisor", "f8"),  # 1/tick where that is whole, else 0: exact prices from ticks
        ("watching", "i8"),  # 1 while a trigger has begun to count confirmations
        ("halted", "i8"),
        ("sided_now", "i8"),  # the wake of the last intent, and which way it went
        ("sided_row", "i8"),
        ("sided", "i8"),
    ],
    align=True,
)

NO_BUY = -(1 << 62)
NO_SELL = 1 << 62
NEVER = (1 << 63) - 1


class TouchFrom(IntEnum):
    """Which rows set an instrument's touch."""

    QUOTES = 0
    DEPTH = 1
    TRADES = 2


class Cadence(IntEnum):
    """When a slot's decision is due."""

    QUOTE = 0
    TRADE = 1
    BAR = 2
    EVERY_NS = 3
    EVERY_N = 4
    PACKET = 5  # at the end of each packet (used for training rows and benchmarks)
    SERIES = 6  # a bar beside the base bars; `cadence_n` says which
    MEMBERS = 7  # when a member of a fused model has decided; Python marks it


class Collected(IntEnum):
    """Which decisions a state that runs ahead collects."""

    WHOLE = 0  # those whose feature row is whole
    READ = 1  # those whose feature row was read (training)
    EVERY = 2  # all: another state follows and takes one place for each decision


SLOT = np.dtype(
    [
        ("model", "i8"),
        ("instrument", "i8"),
        ("spec", "i8"),
        ("cadence", "i8"),
        ("cadence_n", "i8"),
        ("next_ts", "i8"),
        ("due", "i8"),
        ("status", "i8"),  # HoldReason that every decision gets; 0 when the model serves
        ("seen_updates", "i8"),
        ("threshold", "f8"),
        ("wants_holds", "i8"),  # 1: of the model's own, 2: also where it was not asked
        ("shadow", "i8"),  # 1: its decisions are SHADOW records, counted apart
        ("waits", "i8"),  # address of its model's WAITING rows, 0 where it is asked at once
        ("n_features", "i8"),
        ("n_outputs", "i8"),
        ("output_kind", "i8"),
        ("sell_at", "i8"),  # columns of the classes in the output
        ("hold_at", "i8"),
        ("buy_at", "i8"),
        ("x", "i8"),  # addresses of the bound float32 input and output
        ("y", "i8"),
        ("run", "i8"),  # the runtime's C entry and arguments (addresses), 0: Python runs the model
        ("run_arguments", "i8"),
        ("row_hash", "i8"),
        ("was_valid", "i8"),  # 1 once all features were finite
        ("absent", "i8"),  # 1: the data lacks an input of a feature
        # evaluated ahead: its part of the ring of outputs, one place for each decision
        ("batch_at", "i8"),
        ("batch_from", "i8"),
        ("batch_to", "i8"),
        ("counts", "i8", (3,)),  # by action
        ("holds", "i8", (32,)),  # by HoldReason
        # a sequence model: it reads the last `window` rows, from a ring in which each stands twice
        ("window", "i8"),  # rows, 0 for models of single rows
        ("ring", "i8"),  # address of float32[2 * window, n_features]
        ("window_at", "i8"),  # place of the newest row; the window ends with its second copy
        ("window_run", "i8"),  # valid rows up to the newest, at most `window`
        ("window_gaps", "i8"),  # gap_count of the instrument at the newest row
        ("window_arguments", "i8"),  # address of int64[window, 8]: `run_arguments` by place
        ("past", "i8"),  # 1: its window takes the row that HISTORY brings
        ("window_x", "i8"),  # address of float32[window, n_features]: a model on a thread reads it
        # a model on a thread
        ("threaded", "i8"),
        ("service_ns", "i8"),  # how long it takes where the tape does not say
        ("service_status", "i8"),  # AnswerStatus after that time
        ("answered", "i8"),  # results that wait for a wake
        ("requests", "i8"),
        ("answers", "i8", (8,)),  # by AnswerStatus
        ("own", "i8"),  # address of its OWN record (engine/own_state.py), 0 where none is read
        ("told", "i8"),  # 1: other slots read what this one said last, which stands below
        *((f"said_{word}", "i8") for word in ("ts", "action")),
        *((f"said_{word}", "f8") for word in ("sell", "hold", "buy")),  # 0 if no model was asked
        ("form", "i8"),  # address of the FORM of an output that is more than probabilities
    ],
    align=True,
)

BATCH = np.dtype(
    [
        ("row_hash", "i8"),
        ("row", "i8"),
        ("reason", "i8"),  # HoldReason of a feature row that is not whole
        ("x", "i8"),  # address of the feature row
        ("y", "f4", (MAX_OUTPUTS,)),
    ],
    align=True,
)

COLLECT = np.dtype(
    [  # one collected decision: what the kernel saw, for training and for batches ahead
        ("ts", "i8"),
        ("row", "i8"),
        ("slot", "i8"),
        ("instrument", "i8"),
        ("valid", "i8"),
        ("reason", "i8"),  # HoldReason, 0 when valid
        ("row_hash", "i8"),
        ("bid", "f8"),
        ("ask", "f8"),
        ("bar_open", "f8"),
        ("bar_high", "f8"),
        ("bar_low", "f8"),
        ("bar_close", "f8"),
        ("bar_volume", "f8"),
    ],
    align=True,
)

ORDER = np.dtype(
    [
        ("order_id", "i8"),
        ("state", "i8"),  # PaperState
        ("instrument", "i8"),
        ("side", "i8"),
        ("order_type", "i8"),
        ("qty", "i8"),
        ("left", "i8"),
        ("price_tick", "i8"),
        ("collar_low", "i8"),
        ("collar_high", "i8"),
        ("arrive_ts", "i8"),
        ("cancel_ts", "i8"),
        ("queue", "f8"),  # base units ahead of us at our price
        ("rested_ts", "i8"),
        ("ledger", "i8"),  # its place in the ledger, -1: Python keeps the order
    ],
    align=True,
)


class PaperState(IntEnum):
    """Where a paper order is."""

    FREE = 0
    TRAVELLING = 1
    WAITS_FOR_OPEN = 2
    RESTING = 3


TRIGGER = np.dtype(
    [
        ("trigger_id", "i8"),
        ("active", "i8"),
        ("instrument", "i8"),
        ("side", "i8"),  # of the position it protects
        ("stop_tick", "i8"),  # 0 for none
        ("profit_tick", "i8"),
        ("stop_seen", "i8"),
        ("profit_seen", "i8"),
        ("lots", "i8"),  # that it protects
    ],
    align=True,
)


class Out(IntEnum):
    """What a venue event says."""

    ACK = 1
    FILL = 2
    REJECT = 3
    CANCELED = 4
    STOP = 5
    PROFIT = 6


OUT = np.dtype(
    [
        ("kind", "i8"),
        ("order_id", "i8"),  # or trigger id
        ("qty", "i8"),
        ("price_tick", "i8"),
        ("liquidity", "i8"),
        ("reason", "i8"),
        ("ts", "i8"),
        ("queue", "f8"),
        ("ledger", "i8"),  # place of the order in the ledger, -1: Python keeps it
        ("done", "i8"),  # see risk/settle_kernel.py
        ("fill_id", "i8"),
        ("opened", "i8"),  # what a fill opened and closed, at cost
        ("closed", "i8"),
    ],
    align=True,
)
