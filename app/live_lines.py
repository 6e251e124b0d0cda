"""What the status on the terminal says: sections of lines for a person, or one plain line."""

import math
from collections.abc import Sequence

from app.live_numbers import (
    ExposureLine,
    LiveView,
    MarketLine,
    ModelLine,
    OrderLine,
    Waiting,
)
from app.live_text import LABEL, Cell, Line, Section, bar, cell_width, clean, columns, flow
from app.terminal import percent, span, utc
from engine.feed_health import FeedState

WIDE = 100  # from here on there is room for a second view of the same
OLD_S = 5.0  # an instrument that said nothing for so long is pointed at
STATES = {
    FeedState.OFF: "bad",
    FeedState.WARMING: "warn",
    FeedState.LIVE: "good",
    FeedState.STALE: "bad",
}
ACTIONS = {"BUY": "good", "SELL": "bad", "HOLD": "dim"}
FULL, NEARLY = 0.95, 0.75  # shares of a limit that are pointed at


def money(value: float, signed: bool = False) -> str:
    """Write an amount; a dash where it is not known.

    >>> money(1234.5), money(-0.0123), money(2.0, signed=True), money(float("nan"))
    ('1,234.50', '-0.0123', '+2.00', '-')
    """
    if not math.isfinite(value):
        return "-"
    places = 4 if 0 < abs(value) < 0.1 else 2
    return f"{value:{'+' if signed else ''},.{places}f}"


def number(value: float, places: int) -> str:
    """Write a price or a size; a dash where it is not known.

    >>> number(60000.5, 2), number(float("inf"), 2)
    ('60,000.50', '-')
    """
    return f"{value:,.{places}f}" if math.isfinite(value) else "-"


def sections(view: LiveView, width: int, ascii_only: bool = False) -> list[Section]:
    """Return what there is to show, from the top to the bottom."""
    room = max(1, width - LABEL)
    found = [Section("", [_title(view, width)], whole=True)]
    if view.latches:
        lines = [[(f" {words} ", "alarm")] for words in view.latches]
        found.append(Section("STOPPED", lines, whole=True))
    found += [
        Section("feed", flow(_feed(view), room), whole=True),
        Section("market", _markets(view.markets, room), total=view.counts["markets"]),
        Section("models", _models(view.models, room)),
        Section("warm-up", _waiting(view.waiting, view.models, room)),
        Section("account", flow(_account(view), room), whole=True),
        _positions(view, room),
        Section("exposure", _exposures(view.exposures, room, ascii_only)),
        Section("orders", _orders(view, room)),
        Section("risk", flow(_risk(view), room)),
        Section("latency", flow(_latency(view), room)),
    ]
    return found


def _title(view: LiveView, width: int) -> Line:
    moment = f"{utc(view.now_ns, date=True)[:-4]} UTC" if view.now_ns else "no data yet"
    right = f"{moment}  up {span(view.uptime_s)}"
    title = clean(view.title)
    room = width - cell_width(right) - 2
    if room < 1:
        return [(right, "")]
    while cell_width(title) > room:
        title = title[:-1]
    gap = " " * (width - cell_width(title) - cell_width(right))
    return [(title, "bold"), (gap, ""), (right, "")]


def _count(count: int, words: str, style: str = "warn") -> Cell:
    one = words.removesuffix("s") if count == 1 else words
    return f"{count:,} {one}", style if count else "dim"


def _feed(view: LiveView) -> list[Cell]:
    feed = view.feed
    if feed.connected:
        cells: list[Cell] = [("connected", "good")]
    else:
        ended = f" ({feed.last_end})" if feed.last_end else ""
        cells = [(f"NOT CONNECTED{ended}", "bad")]
    rate = "-" if feed.messages_per_s is None else f"{feed.messages_per_s:,.0f}"
    cells += [
        (f"{rate} messages/s", ""),
        _count(feed.gaps, "gaps"),
        _count(feed.reconnects, "reconnects"),
        _count(feed.decode_errors, "decode errors", "bad"),
    ]
    if feed.dropped:
        cells.append(_count(feed.dropped, "dropped messages", "bad"))
    return cells


def _markets(markets: Sequence[MarketLine], room: int) -> list[Line]:
    rows = []
    for one in markets:
        state = "halted" if one.halted else one.state.name.lower()
        old = one.age_s is not None and one.age_s > OLD_S
        spread = number(one.spread_bps, 2 if not abs(one.spread_bps) >= 100 else 0)
        row: list[Cell] = [
            (clean(one.symbol), ""),
            (state, "bad" if one.halted else STATES[one.state]),
            (number(one.price, one.places), "bold"),
            (f"{spread} bps", ""),
            (
                "no data" if one.age_s is None else f"age {span(one.age_s)}",
                "warn" if old or one.age_s is None else "",
            ),
            _count(one.gaps, "gaps"),
        ]
        if room + LABEL >= WIDE:
            row.append((f"bid {number(one.bid, one.places)}", "dim"))
            row.append((f"ask {number(one.ask, one.places)}", "dim"))
        rows.append(row)
    return columns(rows, room, right=(2, 3, 4, 5))


def _models(models: Sequence[ModelLine], room: int) -> list[Line]:
    if not models:
        return [[("none", "dim")]]
    rows = []
    for one in models:
        serving = one.status == "serving"
        words = one.status if one.may_trade or not serving else "shadow"
        words += " on thread" if one.threaded else ""
        row: list[Cell] = [
            (clean(one.name), ""),
            (clean(one.version), "dim"),
            (words, "good" if serving and one.may_trade else "warn" if serving else "bad"),
        ]
        if one.action:
            row += [
                (one.action, ACTIONS.get(one.action, "")),
                (number(one.confidence * 100.0, 0) + "%", ""),
                (f"{span(one.age_s)} ago", ""),
                (clean(one.symbol), ""),
            ]
        else:
            row += [("-", "dim"), ("-", "dim"), ("no signal yet", "dim"), ("", "")]
        rows.append([*row, (f"{one.decisions:,} decisions", "dim")])
    return columns(rows, room, right=(4,))


def _waiting(waiting: Sequence[Waiting], models: Sequence[ModelLine], room: int) -> list[Line]:
    """Say who gives no advice yet; each line names as many instruments as fit."""
    if not waiting:
        serving = any(one.status == "serving" for one in models)
        return [[("done: all advise" if serving or not models else "no model serves", "dim")]]
    rows: list[list[Cell]] = [
        [(clean(one.owner), ""), (one.reason, "warn" if one.warming else "bad")] for one in waiting
    ]
    lines = columns(rows, room)
    for line, one in zip(lines, waiting, strict=True):
        left = room - sum(cell_width(text) for text, _ in line) - 2
        if left >= 12:
            line += [("  ", ""), (_some(one.symbols, left), "")]
    return lines


def _some(names: Sequence[str], room: int) -> str:
    """Write as many names as fit, and how many there are beside.

    >>> _some(["BTCUSDT", "ETHUSDT", "SOLUSDT"], 20), _some(["BTCUSDT"], 20)
    ('BTCUSDT and 2 more', 'BTCUSDT')
    """
    text = ""
    for shown in range(len(names), 0, -1):
        text = clean(", ".join(names[:shown]))
        if shown < len(names):
            text += f" and {len(names) - shown} more"
        if cell_width(text) <= room:
            return text
    return f"{len(names)} instruments"


def _account(view: LiveView) -> list[Cell]:
    cash = view.money
    total = cash.realized + cash.unrealized
    style = "good" if total > 0 else "bad" if total < 0 else ""
    fallen = "warn" if cash.drawdown > 0.01 else ""
    return [
        (f"P&L {money(total, True)} {clean(cash.currency)}", style),
        (f"realised {money(cash.realized, True)}", ""),
        (f"unrealised {money(cash.unrealized, True)}", ""),
        (f"fees {money(cash.fees)}", ""),
        (f"equity {money(cash.equity)}", "bold"),
        (f"free {money(cash.free)}", ""),
        (f"drawdown {_share(cash.drawdown)} (max {_share(cash.max_drawdown)})", fallen),
    ]


def _share(value: float) -> str:
    return percent(value) if math.isfinite(value) else "-"


HEADINGS = "owner instrument size average realised unrealised fees".split()


def _positions(view: LiveView, room: int) -> Section:
    if not view.positions:
        return Section("position", [[("none", "dim")]])
    rows: list[list[Cell]] = [[(words, "dim") for words in HEADINGS]]
    for one in view.positions:
        held = one.size != 0.0
        gain = one.unrealized
        rows.append(
            [
                (clean(one.owner), ""),
                (clean(one.symbol), ""),
                (number(one.size, one.size_places) if held else "flat", "bold" if held else "dim"),
                (number(one.average, one.price_places) if held else "-", "" if held else "dim"),
                (money(one.realized, True), "" if held else "dim"),
                (money(gain, True), "good" if gain > 0 else "bad" if gain < 0 else "dim"),
                (money(one.fees), "dim"),
            ]
        )
    lines = columns(rows, room, right=range(2, 7))
    return Section("position", lines, least=2, total=view.counts["positions"] + 1)


def _exposures(exposures: Sequence[ExposureLine], room: int, ascii_only: bool) -> list[Line]:
    wide = 12 if room + LABEL < WIDE else 24
    rows = []
    for one in exposures:
        share = one.used / one.limit if one.limit else 0.0
        style = "bad" if share >= FULL else "warn" if share >= NEARLY else "good"
        drawn = bar(one.filled / one.limit, one.reserved / one.limit, wide, ascii_only)
        told = {"filled": one.filled, **(one.by_state or {"reserved": one.reserved})}
        words = ", ".join(f"{money(value)} {name}" for name, value in told.items() if value)
        rows.append(
            [
                (clean(one.name), ""),
                (drawn, style),
                (f"{money(one.used)} of {money(one.limit)}", ""),
                (_share(share), style),
                (words, "dim"),
            ]
        )
    return columns(rows, room, right=(2, 3))


def _orders(view: LiveView, room: int) -> list[Line]:
    risk = view.risk
    counted: list[Cell] = [
        (f"{view.counts['orders']:,} open", "bold" if view.counts["orders"] else ""),
        (f"{risk.orders:,} sent", ""),
        (f"{risk.fills:,} fills", ""),
        _count(risk.rejects, "rejects"),
    ]
    rows = [_order(one) for one in view.orders]
    return [*flow(counted, room), *(columns(rows, room, right=(0, 3, 4)) if rows else [])]


def _order(one: OrderLine) -> list[Cell]:
    side = ("buy", "good") if one.side > 0 else ("sell", "bad")
    price = number(one.price, one.price_places) if one.price == one.price else "market"
    return [
        (f"#{one.order_id}", "dim"),
        side,
        (clean(one.symbol), ""),
        (number(one.left, one.size_places), ""),
        (f"at {price}", ""),
        (one.state, "bad" if one.state == "unknown" else ""),
    ]


def _risk(view: LiveView) -> list[Cell]:
    risk = view.risk
    cells: list[Cell] = [
        (f"{risk.intents:,} intents", ""),
        (f"{risk.approved:,} approved", ""),
        (f"{risk.refused:,} blocked" + (":" if risk.blocked else ""), ""),
    ]
    return cells + [(f"{count:,} {reason}", "warn") for reason, count in risk.blocked]


def _latency(view: LiveView) -> list[Cell]:
    if not view.stages:
        return [("no samples yet", "dim")]
    cells: list[Cell] = [("p50/p99 us", "dim")]
    for one in view.stages:
        cells.append((f"{one.name.replace('_', ' ')} {one.p50:,.1f}/{one.p99:,.1f}", ""))
    return cells


def plain_line(view: LiveView) -> str:
    """Return the essentials as one line of key=value, for logs and pipes."""
    feed, cash, risk = view.feed, view.money, view.risk
    unknown = math.isnan(cash.equity)
    pairs: list[tuple[str, object]] = [
        ("time", utc(view.now_ns, date=True).replace(" ", "T") + "Z" if view.now_ns else "none"),
        ("up_s", round(view.uptime_s)),
        ("connected", "yes" if feed.connected else "no"),
        ("messages", feed.messages),
        ("gaps", feed.gaps),
        ("reconnects", feed.reconnects),
        ("decode_errors", feed.decode_errors),
    ]
    for one in view.markets[:4]:
        price = number(one.price, one.places).replace(",", "")
        pairs.append((clean(one.symbol), f"{price}/{one.state.name.lower()}"))
    if view.counts["markets"] > 4:
        pairs.append(("more_instruments", view.counts["markets"] - len(view.markets[:4])))
    pairs += [
        ("models_serving", f"{sum(m.status == 'serving' for m in view.models)}/{len(view.models)}"),
        ("warming", sum(len(one.symbols) for one in view.waiting if one.warming)),
        ("intents", risk.intents),
        ("blocked", risk.refused),
        ("orders", risk.orders),
        ("open", view.counts["orders"]),
        ("fills", risk.fills),
        ("rejects", risk.rejects),
        ("equity", "unknown" if unknown else f"{cash.equity:.2f}"),
        ("pnl", "unknown" if unknown else f"{cash.realized + cash.unrealized:.4f}"),
        ("drawdown_pct", "unknown" if unknown else f"{cash.drawdown * 100:.3f}"),
        ("stopped", ",".join(words.split(":")[0].replace(" ", "_") for words in view.latches)),
    ]
    return "status " + " ".join(f"{key}={value}" for key, value in pairs if value != "")
