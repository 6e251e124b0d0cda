"""The status on the terminal: right numbers, lines that fit, and nothing that stops a session."""

import io
import os
import pty
import re

import msgspec
import pytest

from app.live_lines import sections
from app.live_numbers import LiveView, Waiting
from app.live_screen import Screen
from app.live_text import lay_out
from app.live_view import Collector
from engine.events import Command
from engine.feed_health import EndReason, FeedState
from tests.app.live_session import Session
from tests.app.small_terminal import SmallTerminal

EARLY, LATER = 3_000, 40_000


@pytest.fixture(scope="module")
def early(tmp_path_factory) -> Session:
    """Return a session that is still warming up."""
    session = Session(tmp_path_factory.mktemp("early"))
    session.connect()
    session.advance(EARLY)
    return session


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[LiveView, object, Session]:
    """Return a session at the end of the sample: what is shown, and its summary."""
    session = Session(tmp_path_factory.mktemp("whole"))
    session.connect()
    collector = Collector(session.parts, session.health, "paper", session.monotonic_ns)
    while session.advance(20_000):
        session.clock_ns += 1_000_000_000
        collector.collect()
    session.health.connects += 2
    session.health.decode_errors = 3
    session.health.instruments[0].gaps = 4
    session.clock_ns += 250_000_000
    view = collector.collect()
    return view, session.summary(), session


def text_of(view: LiveView, width: int, height: int = 24) -> str:
    lines = lay_out(sections(view, width), width, height - 1)
    assert len(lines) < height
    texts = ["".join(text for text, _ in line) for line in lines]
    assert all(len(text) <= width for text in texts)
    return "\n".join(texts)


def screen_of(session: Session, **options) -> tuple[Screen, io.StringIO]:
    stream = io.StringIO()
    options = {"title": "paper", "plain": False, **options}
    made = Screen(
        session.parts, session.health, now_ns=session.monotonic_ns, stream=stream, **options
    )
    return made, stream


def test_the_numbers_are_those_of_the_summary(whole):
    view, summary, session = whole
    assert summary.fills > 100
    cash = view.money
    assert cash.equity == pytest.approx(summary.equity, abs=1e-6)
    assert cash.realized == pytest.approx(summary.pnl.realized, abs=1e-6)
    assert cash.unrealized == pytest.approx(summary.pnl.unrealized, abs=1e-6)
    assert cash.fees == pytest.approx(summary.fees["USDT"])
    assert cash.max_drawdown == pytest.approx(summary.max_drawdown)
    risk = view.risk
    assert (risk.intents, risk.orders, risk.fills) == (
        summary.intents,
        summary.orders,
        summary.fills,
    )
    assert risk.refused == sum(summary.blocked.values()) > 0
    assert {name.upper().replace(" ", "_"): n for name, n in risk.blocked} == summary.blocked
    books = {(b.owner, b.instrument.split(":")[1]): b for b in summary.books if b.kind == "model"}
    assert {(p.owner, p.symbol) for p in view.positions} == set(books)
    for line in view.positions:
        book = books[line.owner, line.symbol]
        assert line.size == pytest.approx(book.position)
        assert (line.realized, line.fees) == (book.realized, book.fees)
        assert line.unrealized == pytest.approx(book.unrealized)
        assert line.average == pytest.approx(book.average_price, nan_ok=True) or not line.size
    assert {s.name for s in view.stages} == set(summary.latency_us)
    assert sum(m.decisions for m in view.models) == summary.decisions
    for line in view.exposures[1:]:
        model = next(m for m in session.parts.models if m.settings.name == line.name)
        gate = session.parts.gate.record[0]
        kinds = ("filled", "resting", "in_flight", "unknown")
        assert line.used == pytest.approx(sum(int(gate[k][model.index]) for k in kinds) / 1e8)
        assert line.limit == summary.limits["model_exposure"][line.name]


@pytest.mark.parametrize("width", [80, 100])
def test_all_facts_stand_on_the_screen(whole, width):
    view, summary, session = whole
    text = text_of(view, width, 30)
    market = session.parts.state.markets[0]
    age = "0.2 s"  # a quarter of a second after the last message
    facts = [
        "connected", "2 reconnects", "4 gaps", "3 decode errors", "messages/s",
        "BTCUSDT", f"{market['trade_price']:,.1f}", "bps", "live", f"age {age}",
        "TickMLP", "SignalClassifier", "serving", "ago",
        "done: all advise",
        f"realised {summary.pnl.realized:+,.2f}", f"equity {summary.equity:,.2f}",
        f"P&L {summary.pnl.total:+,.2f} USDT", f"fees {summary.fees['USDT']:,.2f}", "drawdown",
        f"{summary.fills:,} fills", "0 rejects", "0 open", f"{summary.intents:,} intents",
        "blocked: ", "p50/p99 us", "inference", "gross", "of 1,000.00", "█", "░",
    ]  # fmt: skip
    assert [fact for fact in facts if fact not in text] == []
    for name, count in view.risk.blocked[:3]:
        assert f"{count:,} {name}" in text
    last = max(session.parts.pipeline.signals.values(), key=lambda s: s.signal_id)
    assert ("BUY" if last.action == 2 else "SELL") in text
    assert f"{last.confidence:.0%}" in text


@pytest.mark.parametrize("height", [6, 12, 24, 50])
@pytest.mark.parametrize("width", [1, 10, 40, 60, 80, 100, 200])
def test_any_size_holds_and_nothing_is_wider(whole, early, width, height):
    view = Collector(early.parts, early.health, "x" * 90, early.monotonic_ns).collect()
    for lines in (text_of(one, width, height).split("\n") for one in (whole[0], view)):
        assert 0 < len(lines) < height
        assert max(len(line) for line in lines) <= width
        assert any(line.strip() for line in lines)


def test_what_does_not_fit_is_counted(whole):
    view = whole[0]
    market = view.markets[0]
    many = msgspec.structs.replace(
        view,
        markets=[msgspec.structs.replace(market, symbol=f"COIN{k}USDT") for k in range(64)],
        models=[msgspec.structs.replace(view.models[0], name=f"Model{k}") for k in range(20)],
        waiting=[Waiting("TickMLP", "not warm", [f"COIN{k}USDT" for k in range(300)], True)],
        counts={**view.counts, "markets": 300},
    )
    text = text_of(many, 80)
    for label in ("market", "models", "warm-up", "account", "position", "exposure", "latency"):
        assert f"\n{label} " in text
    shown = len(re.findall(r"COIN\d+USDT +live", text))
    assert shown >= 2
    assert f"and {300 - shown} more" in text
    assert re.search(r"and 2\d\d more", text.split("warm-up")[1].split("\n")[0])


def test_an_empty_session_says_what_is_missing(tmp_path):
    session = Session(tmp_path)
    screen, stream = screen_of(session)
    screen.update()
    terminal = SmallTerminal(80)
    terminal.feed(stream.getvalue())
    text = "\n".join(terminal.rows)
    for words in ("no data yet", "NOT CONNECTED", "off", "no data", "no signal yet",
                  "no decision yet", "0 fills", "equity 10,000.00", "no samples yet"):  # fmt: skip
        assert words in text
    assert "nan" not in text
    session.health.last_end = EndReason.UNREACHABLE
    session.health.instruments[0].state = FeedState.WARMING
    screen.update()
    again = SmallTerminal(80)
    again.feed(stream.getvalue())
    assert "NOT CONNECTED (unreachable)" in "\n".join(again.rows)
    assert "warming" in "\n".join(again.rows)


def test_what_is_warming_up_is_named_and_then_not(early):
    view = Collector(early.parts, early.health, "paper", early.monotonic_ns).collect()
    text = text_of(view, 80)
    assert re.search(r"warm-up +SignalClassifier +n.*BTCUSDT, ETHUSDT", text)
    assert "TickMLP" not in text.split("warm-up")[1].split("account")[0]


def test_a_killed_gate_is_an_alarm(tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    session = Session(tmp_path)
    session.connect()
    session.advance(EARLY)
    session.parts.desk.on_command(int(Command.KILL))
    session.parts.gate.record["drawdown_latched"] = 1
    screen, stream = screen_of(session)
    screen.update()
    terminal = SmallTerminal(80)
    terminal.feed(stream.getvalue())
    text = "\n".join(terminal.rows)
    assert "STOPPED" in text
    assert "DRAWDOWN LIMIT" in text
    alarm = [codes for words, codes in terminal.styled if "KILL SWITCH" in words]
    assert alarm
    assert "41" in alarm[0].split(";")


def test_no_color_is_honoured(early, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    screen, stream = screen_of(early)
    screen.update()
    codes = set(re.findall(r"\x1b\[([0-9;]*)m", stream.getvalue()))
    assert not [code for code in codes if {"3", "4"} & {n[0] for n in code.split(";") if n[1:]}]
    assert "1" in codes


def test_prices_that_are_not_known_are_dashes(tmp_path):
    session = Session(tmp_path)
    session.connect()
    while not session.parts.gate.record["position_lot"][0].any():
        assert session.advance(100)
    for name in ("mid", "bid", "ask", "trade_price"):
        session.parts.state.markets[name] = float("nan")
    screen, stream = screen_of(session)
    screen.update()
    text = stream.getvalue()
    assert "equity -" in text
    assert "- bps" in text
    assert "nan" not in text.lower()
    plain, stream = screen_of(session, plain=True)
    plain.update()
    assert "equity=unknown" in stream.getvalue()


def test_plain_lines_come_at_their_time_without_codes(early):
    start = early.clock_ns
    screen, stream = screen_of(early, plain=None, plain_every_s=10.0)
    for _ in range(100):  # 25 s
        screen.update()
        early.clock_ns += 250_000_000
    screen.say("one line\nand another")
    screen.update()
    screen.close()
    early.clock_ns = start
    lines = stream.getvalue().splitlines()
    assert len([line for line in lines if line.startswith("status time=")]) == 4
    assert lines[3:5] == ["one line", "and another"]
    assert "\x1b" not in stream.getvalue()
    fields = dict(word.split("=", 1) for word in lines[0].split()[1:])
    assert fields["connected"] == "yes"
    assert fields["messages"] == str(EARLY)
    assert fields["fills"] == str(early.parts.desk.counts.fills)
    assert fields["warming"] == "2"


def test_frames_change_only_what_differs_and_end_on_a_new_line(early):
    screen, stream = screen_of(early)
    screen.update()
    first = len(stream.getvalue())
    screen.update()
    assert len(stream.getvalue()) - first < first / 4
    screen.say("12:00:00 feed.gap \x1b[2Jforged")
    screen.update()
    screen.close()
    screen.close()
    screen.update()
    terminal = SmallTerminal(80)
    terminal.feed(stream.getvalue())
    assert stream.getvalue().endswith("\n")
    assert terminal.rows[0] == "12:00:00 feed.gap ?[2Jforged"
    assert terminal.rows[1].startswith("paper ")
    assert terminal.rows[2].startswith("feed ")
    assert terminal.rows[-1] == ""
    assert sum(row.startswith("feed ") for row in terminal.rows) == 1


def test_another_size_begins_on_a_clear_screen(early, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "24")
    screen, stream = screen_of(early)
    screen.update()
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "12")
    before = len(stream.getvalue())
    screen.update()
    terminal = SmallTerminal(60)
    terminal.feed(stream.getvalue()[before:])
    assert "\x1b[2J" in stream.getvalue()[before:]
    assert len(terminal.rows) == 11


def test_a_terminal_that_takes_nothing_holds_nobody_up(early):
    outer, inner = pty.openpty()
    stream = os.fdopen(inner, "w", encoding="utf-8")
    clock = early.clock_ns
    screen = Screen(
        early.parts,
        early.health,
        title="paper",
        now_ns=early.monotonic_ns,
        stream=stream,
        plain=False,
    )
    for beat in range(600):  # nobody reads: the terminal's buffer is full long before the end
        early.health.messages += beat
        early.clock_ns += 250_000_000
        screen.update()
    early.clock_ns = clock
    assert screen._out._left, "the buffer never filled"
    os.set_blocking(outer, False)
    seen = b""
    for _ in range(50):
        try:
            while chunk := os.read(outer, 65_536):
                seen += chunk
        except BlockingIOError:
            pass
        screen.update()
    screen.close()
    with pytest.raises(BlockingIOError):
        while chunk := os.read(outer, 65_536):
            seen += chunk
    terminal = SmallTerminal(80)
    terminal.feed(seen.decode())
    assert sum(row.startswith("feed ") for row in terminal.rows) == 1
    assert os.get_blocking(inner), "the terminal of others was changed"
    stream.close()
    os.close(outer)


def test_a_fault_ends_the_status_and_nothing_else(early):
    screen, stream = screen_of(early)
    screen.update()
    early.health.instruments[0].gaps, gaps = None, early.health.instruments[0].gaps
    screen.update()
    screen.update()
    early.health.instruments[0].gaps = gaps
    assert stream.getvalue().count("status ended by TypeError") == 1
    assert stream.getvalue().endswith("\n")
    screen, stream = screen_of(early)
    stream.close()
    screen.update()
    screen.close()


def test_looking_changes_no_decision(tmp_path):
    digests = []
    for watched in (False, True):
        session = Session(tmp_path / str(watched))
        session.connect()
        screen, _ = screen_of(session)
        while session.advance(500) and session.health.messages < LATER:
            if watched:
                session.clock_ns += 3_000_000_000
                screen.update()
        session.parts.pipeline.finish()
        digests.append(session.audit.close())
        assert session.parts.desk.counts.fills > 20
    assert digests[0] == digests[1]
