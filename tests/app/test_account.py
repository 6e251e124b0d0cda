"""`lab.py account` on journals made here: what it shows, what it keeps, what it refuses."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

import lab
from app.account_view import view_of
from app.command_line import run
from engine.account_lock import AccountLock, holder_of
from engine.account_marks import LOSSES, NO_PEAK, WHOSE, count, counted
from engine.errors import DataError
from engine.events import OrderState
from engine.journal_layout import RECORD_BYTES, Doubt, Kind, Latch, Name, Note, named
from engine.journal_reader import fold, read_journal
from tests.engine.account_world import World

WHY = ("--why", "looked at the exchange")
PEAK = 900_000_000


@pytest.fixture
def runs(tmp_path) -> Path:
    """Return a folder of runs with one account: an order of each sort, latches, a difference."""
    return made(tmp_path)


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """Return the same for what is refused and changes nothing."""
    return made(tmp_path_factory.mktemp("kept"))


def made(folder: Path) -> Path:
    world = World(folder / "accounts" / "embedded-main", segment_records=1024)
    account = world.account
    for asset, amount in (("BTC", "2"), ("USDT", "50000")):
        account.put(Kind.BALANCE, ref=account.name(Name.ASSET, asset), body=named(amount))
    filled, resting, unknown, sent = (world.sent(at) for at in range(4))
    assert sent
    account.acked(filled, "1001", 5)
    account.filled(world.trade(filled, "t1", 100, fee_asset="USDT"))
    account.acked(resting, "1002", 5)
    account.unknown(unknown, Doubt.NO_ANSWER)
    differs = "USDT: the venue says 49941, the journal adds up to 49939.99999989"
    account.note(Note.BALANCE_DIFFERS, differs)
    for latch, why in ((Latch.ACCOUNT, differs), (Latch.DRAWDOWN, "the largest drawdown")):
        account.put(Kind.LATCH, code=latch, ref=account.name(Name.TEXT, why), numbers=(1, *[0] * 8))
    count(account, LOSSES, WHOSE, (20_000, -500_000_000, PEAK))
    account.journal.close()
    return folder


def said(capsys, runs: Path, *words: str) -> tuple[int, str, str]:
    """Call the command; return exit code, stdout and stderr."""
    code = run("lab.py", lambda: lab.main(["account", *words, "--runs", str(runs)]))
    out, err = capsys.readouterr()
    return code, out, err


def account_in(runs: Path) -> Path:
    return runs / "accounts" / "embedded-main"


def unknown_of(runs: Path) -> str:
    state = fold(account_in(runs))
    (found,) = [one for one in state.live.values() if one.state == OrderState.UNKNOWN]
    return found.client_id


def test_show_tells_all_that_stands_in_the_journal(runs, capsys):
    code, out, _ = said(capsys, runs, "show", "--json")
    view, unknown = json.loads(out), unknown_of(runs)
    assert code == 0
    assert (view["account"], view["held_by"], view["torn_bytes"]) == ("embedded-main", None, 0)
    assert [one["latch"] for one in view["latches"]] == ["DRAWDOWN", "ACCOUNT"]
    assert all(0 < one["since"] <= view["last_ts"] for one in view["latches"])
    states = {one["client_id"]: (one["state"], one["doubt"]) for one in view["orders"]}
    assert states[unknown] == ("UNKNOWN", "NO_ANSWER")
    assert sorted(state for state, _ in states.values()) == ["ACKED", "SENT", "UNKNOWN"]
    (order,) = [one for one in view["orders"] if one["client_id"] == unknown]
    assert (order["symbol"], order["side"]) == ("BTCUSDT", "buy")
    assert (order["quantity"], order["price"]) == ("0.001", "60000")
    (held,) = view["positions"]
    assert (held["symbol"], held["quantity"], held["cost"]) == ("BTCUSDT", "0.001", "60")
    assert Decimal(view["balances"]["BTC"]) == Decimal("2.001")
    assert view["losses"] == {"day": 20_000, "began": "-5", "peak": "9"}
    assert view["notes"][-1]["about"] == "BALANCE_DIFFERS"
    code, out, _ = said(capsys, runs, "show", str(account_in(runs)))
    assert code == 0
    assert max(map(len, out.replace(str(runs), "runs").splitlines())) <= 80
    for word in (unknown, "UNKNOWN since", "DRAWDOWN since", "the venue says", "account declare"):
        assert word in out


def test_an_unknown_order_is_ended_once_with_its_reason(runs, capsys):
    unknown = unknown_of(runs)
    code, out, _ = said(capsys, runs, "end-order", unknown, "--why", "support:\n it never arrived")
    assert code == 0
    assert unknown in out
    order = fold(account_in(runs)).orders[unknown]
    assert (order.state, order.code) == (OrderState.REJECTED, "operator")
    view = json.loads(said(capsys, runs, "show", "--json")[1])
    assert view["notes"][-1]["text"] == f"{unknown} never arrived: support: it never arrived"
    code, _, err = said(capsys, runs, "end-order", unknown, *WHY)
    assert (code, "over already (REJECTED)" in err) == (2, True)


def test_a_declared_balance_counts_and_is_told(runs, capsys):
    code, out, _ = said(capsys, runs, "declare", "USDT", "49941.00", *WHY)
    assert code == 0
    assert "USDT: 49941 instead of 49939.9" in out
    assert "ACCOUNT is still latched" in out
    assert fold(account_in(runs)).expected("USDT") == Decimal(49941)
    code, out, _ = said(capsys, runs, "declare", "SOL", "3", "--new", *WHY, "--json")
    assert json.loads(out) == {
        "account": "embedded-main", "done": "declare", "asset": "SOL", "amount": "3", "why": WHY[1],
    }  # fmt: skip
    assert fold(account_in(runs)).expected("SOL") == 3
    assert "to sell more than there is" in said(capsys, runs, "declare", "BTC", "0", *WHY)[1]


def test_a_cleared_latch_is_open_and_a_drawdown_counts_anew(runs, capsys):
    assert said(capsys, runs, "clear", "account", *WHY)[0] == 0
    assert list(fold(account_in(runs)).latches) == [Latch.DRAWDOWN]
    kept = json.loads(said(capsys, runs, "show", "--json")[1])
    assert kept["losses"]["peak"] == "9"
    code, out, _ = said(capsys, runs, "clear", "all", *WHY)
    assert (code, "counts anew" in out) == (0, True)
    view = json.loads(said(capsys, runs, "show", "--json")[1])
    assert (view["latches"], view["losses"]["peak"], view["losses"]["began"]) == ([], None, "-5")
    assert [one["text"] for one in view["notes"]][-2:] == [
        f"ACCOUNT cleared: {WHY[1]}",
        f"DRAWDOWN cleared: {WHY[1]}",
    ]
    world = World(account_in(runs))
    assert counted(world.account, LOSSES, WHOSE)[:3] == (20_000, -500_000_000, NO_PEAK)
    world.account.journal.close()


WRONG = [
    (("end-order", "3ibe68070", *WHY), "over already (FILLED)"),
    (("end-order", "3ibe68071", *WHY), "it is ACKED: the exchange has it"),
    (("end-order", "3ibe68073", *WHY), "it is SENT: the next session asks"),
    (("end-order", "3ibe68079", *WHY), "knows no such order"),
    (("end-order", "3ibe68072", "--why", " "), "say why"),
    (("end-order", "3ibe68072", "--why", "\x1b[31m"), "without control codes"),
    (("declare", "USDT", "nan", *WHY), "is no amount"),
    (("declare", "USDT", "-1", *WHY), "no less than 0"),
    (("declare", "USDT", "1e999999999", *WHY), "more than the books can hold"),
    (("declare", "USDT", "0.000000001", *WHY), "at most 8 decimals"),
    (("declare", "usdt", "1", *WHY), "did you mean USDT?"),
    (("declare", "SOL", "1", *WHY), "counted are BTC, USDT"),
    (("declare", "A B", "1", "--new", *WHY), "no asset's name"),
    (("clear", "KILL", *WHY), "KILL: is not latched; DRAWDOWN, ACCOUNT is"),
    (("clear", "KILLED", *WHY), "no such latch"),
    (("clear", "KILL", *WHY, "--account", "other"), "there are embedded-main"),
    (("show", "other"), "there are embedded-main"),
    (("show", "--notes", "-1"), "0 or more"),
]


@pytest.mark.parametrize(("words", "line"), WRONG, ids=[" ".join(words)[:40] for words, _ in WRONG])
def test_wrong_words_are_one_line_and_change_nothing(kept, capsys, words, line):
    before = (account_in(kept) / "journal" / "000000.journal").read_bytes()
    code, out, err = said(capsys, kept, *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert line in err
    assert (account_in(kept) / "journal" / "000000.journal").read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [("end-order", "3ibe68072", *WHY), ("declare", "USDT", "1", *WHY), ("clear", "all", *WHY)],
)
def test_fault_P14_nobody_speaks_while_a_session_holds_the_account(runs, capsys, words):
    assert holder_of(account_in(runs)) == ""
    lock = AccountLock(account_in(runs))
    try:
        before = fold(account_in(runs)).records
        code, out, err = said(capsys, runs, *words)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert "trades this account" in err
        assert fold(account_in(runs)).records == before
        view = json.loads(said(capsys, runs, "show", "--json")[1])
        assert view["held_by"] == holder_of(account_in(runs)) != ""
        assert "speak when the session is over" in said(capsys, runs, "show")[1]
    finally:
        lock.release()
    assert said(capsys, runs, *words)[0] == 0


def test_fault_P08_a_torn_last_record_is_cut_and_told_a_damaged_one_refuses(runs, capsys):
    path = account_in(runs) / "journal" / "000000.journal"
    data, records = bytearray(path.read_bytes()), fold(account_in(runs)).records
    end = (records + 1) * RECORD_BYTES
    torn = data[: end - 60] + bytes(len(data) - end + 60)
    path.write_bytes(torn)
    assert "the next start cuts them" in said(capsys, runs, "show")[1]
    assert said(capsys, runs, "clear", "ACCOUNT", *WHY)[0] == 0
    abouts = [one["about"] for one in json.loads(said(capsys, runs, "show", "--json")[1])["notes"]]
    assert abouts[-2:] == ["TAIL_CUT", "OPERATOR"]
    data[3 * RECORD_BYTES + 70] ^= 4
    path.write_bytes(data)
    for words in (("show",), ("clear", "DRAWDOWN", *WHY)):
        code, _, err = said(capsys, runs, *words)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "at offset 384; nothing was changed: restore the file from a copy" in err
    assert path.read_bytes() == data


def test_one_of_several_accounts_is_named(runs, tmp_path, capsys):
    World(tmp_path / "accounts" / "embedded-other").account.journal.close()
    code, _, err = said(capsys, runs, "show")
    assert (code, "name one of them: embedded-main, embedded-other" in err) == (2, True)
    for name in ("main", "embedded-main"):
        assert json.loads(said(capsys, runs, "show", name, "--json")[1])["runs"] == 1
    assert said(capsys, runs, "clear", "all", *WHY, "--account", "main")[0] == 0
    code, _, err = said(capsys, tmp_path / "nowhere", "show")
    assert (code, "no account is here" in err) == (2, True)


def test_a_journal_in_use_is_read_again_before_it_is_called_bad(runs, monkeypatch):
    failures = [DataError("a record in the middle is damaged")] * 2

    def read(folder, visit):
        if failures:
            raise failures.pop()
        return read_journal(folder, visit)

    monkeypatch.setattr("app.account_view.read_journal", read)
    with pytest.raises(DataError):
        view_of(account_in(runs))  # nobody is writing
    lock = AccountLock(account_in(runs))
    assert view_of(account_in(runs)).records == fold(account_in(runs)).records
    lock.release()
    assert not failures
