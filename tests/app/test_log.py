"""Logging: forged lines, secrets, NaN, levels per part, and a stream that is gone."""

import io
import json
import logging

import pytest
import structlog

from app import log
from engine.errors import UsageError

EVIL = 'x\n12:00:00 error  fake \x1b[31m"quoted"\r\x00'


@pytest.fixture(autouse=True)
def _restore():
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def lines(emit, **kwargs):
    stream = io.StringIO()
    log.configure(stream=stream, **kwargs)
    emit()
    return stream.getvalue().splitlines()


def test_for_people_one_line_says_time_level_part_event_and_values():
    (line,) = lines(lambda: log.logger("data").info("import.done", rows=12, message="12 rows kept"))
    words = line.split()
    assert words[1:] == ["info", "data.import.done", "12", "rows", "kept", "rows=12"]


def test_fault_S07_foreign_text_cannot_forge_a_line():
    def emit():
        log.logger("feed").warning("venue.error", reply=EVIL, message=EVIL)
        log.logger("feed").warning(EVIL)

    for as_json in (False, True):
        found = lines(emit, as_json=as_json)
        assert len(found) == 2
        assert all(c.isprintable() for line in found for c in line)
        assert "log.unnamed" in found[1]


def test_fault_S08_json_is_strict():
    (line,) = lines(
        lambda: log.logger("risk").info(
            "limit.hit", a=float("nan"), b=float("inf"), c=object(), d=b"x"
        ),
        as_json=True,
    )
    event = json.loads(line, parse_constant=pytest.fail)
    assert event["a"] is None
    assert event["b"] is None
    assert list(event)[:4] == ["ts", "level", "part", "event"]
    assert event["ts"].endswith("Z")


def test_fault_S06_secrets_are_hidden():
    for as_json in (False, True):
        (line,) = lines(
            lambda: log.logger("venue").info("order.sent", api_key="k-123", apiSecret="s-123"),
            as_json=as_json,
        )
        assert "123" not in line.partition("order.sent")[2]


def test_levels_by_part():
    def emit():
        log.logger("data").debug("a.b")
        log.logger("risk").debug("c.d")
        log.logger("risk").error("e.f")

    assert [line.split()[2] for line in lines(emit)] == ["risk.e.f"]
    assert len(lines(emit, verbose=True)) == 3
    assert len(lines(emit, levels={"data": "debug"})) == 2
    assert lines(emit, levels={"risk": "off"}) == []
    assert len(lines(emit, verbose=True, levels={"data": "error"})) == 2


@pytest.mark.parametrize("word", ["data", "data=loud", "=debug", "data:debug"])
def test_unknown_levels_name_the_known(word):
    with pytest.raises(UsageError, match="debug, info"):
        log.parse_levels([word])


def test_other_packages_are_values_of_our_event():
    (line,) = lines(lambda: logging.getLogger("ccxt").warning("bad %s", EVIL), as_json=True)
    event = json.loads(line)
    assert (event["event"], event["name"]) == ("library.message", "ccxt")
    assert event["message"] == "bad " + EVIL


def test_a_closed_stream_costs_lines_and_not_the_run():
    stream = io.StringIO()
    log.configure(stream=stream)
    stream.close()
    lost = log._Stream.lost
    log.logger("run").error("a.b")
    assert log._Stream.lost == lost + 1


def test_exceptions_are_indented_below_their_line():
    def emit():
        try:
            raise ValueError(EVIL)
        except ValueError:
            log.logger("run").exception("step.failed")

    found = lines(emit)
    assert "run.step.failed" in found[0]
    assert all(line.startswith("    ") for line in found[1:])
