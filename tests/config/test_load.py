"""Bad configuration is refused in one line that helps; rows C01 to C07 of the fault matrix."""

import dataclasses
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.load import (
    DEFAULT,
    ConfigProblem,
    check_settings,
    lay_over,
    load_settings,
    load_tree,
    settings_json,
)
from config.settings import Settings

FILE = Path(__file__).with_name("good.yaml")
GOOD = FILE.read_text()
LIMITS = (
    "max_order_notional max_position_notional max_model_exposure max_gross_exposure "
    "max_price_deviation_pct max_orders_per_s max_open_orders max_daily_loss max_drawdown_pct"
).split()


@dataclasses.dataclass
class Files:
    """Writes variations of the default settings and returns the refusal."""

    folder: Path

    def load(self, text: str | bytes) -> Settings:
        file = self.folder / "x.yaml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_settings(file)

    def refusal(self, text: str | bytes) -> str:
        with pytest.raises(ConfigProblem) as caught:
            self.load(text)
        message = str(caught.value)
        assert "\n" not in message
        assert message.startswith(str(self.folder / "x.yaml"))
        return message.removeprefix(str(self.folder))

    def with_limit(self, name: str, value: str) -> str:
        lines = [
            f"  {name}: {value}" if line.strip().startswith(f"{name}:") else line
            for line in GOOD.splitlines()
        ]
        return "\n".join(lines) + "\n"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_the_default_file_loads_and_its_json_is_canonical():
    settings = load_settings(None)
    assert settings_json(settings) == settings_json(load_settings(DEFAULT))
    again = msgspec.json.decode(settings_json(settings), type=Settings)
    assert again == settings
    assert b" " not in settings_json(settings)


def test_one_and_one_point_zero_are_the_same_settings(files):
    other = files.load(files.with_limit("max_order_notional", "1000.0"))
    assert settings_json(other) == settings_json(load_settings(FILE))


def test_fault_C01_unknown_key_names_the_nearest(files):
    message = files.refusal(GOOD.replace("max_daily_loss: 500", "max_dayly_loss: 500"))
    line = GOOD[: GOOD.index("max_daily_loss")].count("\n") + 1
    assert (
        f":{line}: risk.max_dayly_loss: 500: unknown key; did you mean max_daily_loss?" in message
    )


def test_fault_C01_unknown_group_and_list_item(files):
    assert "riks: " in files.refusal(GOOD + "riks: {}\n")
    assert "did you mean risk?" in files.refusal(GOOD + "riks: {}\n")
    message = files.refusal(GOOD.replace("cadence: bar:1m", "cadance: bar:1m"))
    assert "models[0].cadance" in message
    assert "did you mean cadence?" in message


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize(
    "value",
    "-1 0 .nan .inf -.inf NaN Infinity 1e400 '5' NO yes true 1:30 010 0x1F 1_0 null [] {}".split(),
)
def test_fault_C02_no_such_limit(files, limit, value):
    message = files.refusal(files.with_limit(limit, value))
    assert f"risk.{limit}" in message


def test_fault_C02_integers_are_integers(files):
    for value in ("64.0", "1e1", "99999999999999999999", "257"):
        assert "max_open_orders" in files.refusal(files.with_limit("max_open_orders", value))


def test_fault_C02_the_message_says_what_is_allowed(files):
    message = files.refusal(files.with_limit("max_drawdown_pct", "120"))
    assert message.endswith(
        "risk.max_drawdown_pct: 120 is not allowed; allowed is a number > 0 and <= 100"
    )
    message = files.refusal(GOOD.replace("bar:1m", "bar:1 minute"))
    assert '"bar:1 minute" is not allowed; allowed is quote, trade, bar:1m' in message


def test_fault_C02_balances_are_decimal_text(files):
    for bad in ("10000", '"-1"', '"1e9"', '"1.123456789"', '"NaN"', '""', '"1\\n"'):
        message = files.refusal(GOOD.replace('{USDT: "10000"}', f"{{USDT: {bad}}}"))
        assert "portfolio.balances.USDT" in message


def test_fault_C03_duplicate_keys(files):
    text = GOOD.replace("  max_daily_loss: 500\n", "  max_daily_loss: 1\n  max_daily_loss: 500\n")
    assert "risk.max_daily_loss: stands twice, first in line" in files.refusal(text)
    assert "stands twice" in files.refusal(GOOD + "risk: {}\n")


@pytest.mark.parametrize("limit", LIMITS)
def test_fault_C04_missing_limit(files, limit):
    text = "".join(
        line for line in GOOD.splitlines(True) if not line.strip().startswith(f"{limit}:")
    )
    assert f"risk.{limit}: is missing; give a" in files.refusal(text)


def test_fault_C04_missing_fees_and_an_empty_file(files):
    assert "paper.maker_fee_bps: is missing" in files.refusal(
        GOOD.replace("  maker_fee_bps: 1.0\n", "")
    )
    assert "assumed: is missing" in files.refusal("")
    assert "assumed: is missing" in files.refusal("# nothing\n")


def test_fault_C05_a_secret_is_refused_and_not_repeated(files):
    message = files.refusal(GOOD + "api_secret: hunter2hunter2\n")
    assert "api_secret" in message
    assert "environment" in message
    assert "hunter2" not in message


def test_fault_C05_secrets_inside_groups_and_free_pairs(files):
    for text in (
        GOOD + "exchange: {api_key: hunter2}\n",
        GOOD.replace("threshold: 0.6", "threshold: 0.6, apiKey: hunter2"),
        GOOD.replace('{USDT: "10000"}', "{USDT: {secret: hunter2}}"),
        GOOD.replace("bar_interval_s: 60", "bar_interval_s: [{token: hunter2}]"),
    ):
        assert "hunter2" not in files.refusal(text)


def test_a_key_cannot_forge_a_second_line(files):
    message = files.refusal(GOOD + '"a\\nx.yaml: all is well\\e[2J": 1\n')
    assert "\\n" in message
    assert message.isprintable()


def test_fault_C06_bombs_depth_size_tags(files):
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
    for k in range(1, 10):
        bomb += f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 9)}]\n"
    assert "values" in files.refusal(bomb)
    assert "levels" in files.refusal("a: " + "[" * 100_000)
    assert "bytes" in files.refusal("#" * (2 << 20))
    assert "tag" in files.refusal("a: !!python/object/apply:os.system [echo]\n")
    assert "alias" in files.refusal("a: &a [*a]\n")
    assert "merge" in files.refusal(GOOD.replace("risk:\n", "risk:\n  <<: {}\n"))
    assert "directive" in files.refusal("%YAML 1.1\n---\n" + GOOD)
    assert "one document" in files.refusal(GOOD + "---\na: 1\n")
    assert "UTF-8" in files.refusal(b"a: \xff\xfe")


def test_fault_C07_contradictions(files):
    assert "larger than a position" in files.refusal(files.with_limit("max_order_notional", "2001"))
    assert "too old" in files.refusal(files.with_limit("max_signal_age_ms", "1"))
    assert "max_price_deviation_pct" in files.refusal(
        files.with_limit("max_price_deviation_pct", "0")
    )
    twins = GOOD.replace("  - name: TickMLP\n", "  - name: SignalClassifier\n")
    assert "models[1].name: " in files.refusal(twins)
    strange = GOOD.replace("  - name: ml_signal\n", "  - name: ml_signal\n    models: [TickMPL]\n")
    assert "did you mean TickMLP?" in files.refusal(strange)


def test_overrides_are_checked_like_the_file():
    settings = load_settings(FILE, {"risk.max_order_notional": 5, "models[1].cadence": "quote"})
    assert settings.risk.max_order_notional == 5
    assert settings.models[1].cadence == "quote"
    for key, value in {
        "risk.max_order_notionl": 5,
        "risk.max_order_notional": float("nan"),
        "models[7].cadence": "quote",
        "models.cadence": "quote",
        "risk": 3,
        "": 1,
        "risk.": 1,
    }.items():
        with pytest.raises(ConfigProblem) as caught:
            load_settings(FILE, {key: value})
        assert str(caught.value).startswith("command line: "), key


def test_a_file_laid_over_changes_what_it_names_and_is_checked_with_its_lines(files):
    base = load_tree(FILE)
    file = files.folder / "over.yaml"
    file.write_text("risk:\n  max_daily_loss: 7\nmodels: []\n")
    settings = lay_over(base, file)
    assert settings.risk.max_daily_loss == 7
    assert settings.risk.max_drawdown_pct == load_settings(FILE).risk.max_drawdown_pct
    assert settings.models == ()
    assert base == load_tree(FILE)
    file.write_text("\nrisk:\n  max_dayly_loss: 7\n")
    with pytest.raises(ConfigProblem, match=r"over\.yaml:3: risk\.max_dayly_loss.*max_daily_loss"):
        lay_over(base, file)
    file.write_text("- a\n")
    with pytest.raises(ConfigProblem, match="by name"):
        lay_over(base, file)


def test_plain_values_are_checked_like_a_file():
    tree = load_tree(FILE)
    assert check_settings(tree, "config.json") == load_settings(FILE)
    tree["risk"]["max_daily_loss"] = float("nan")
    with pytest.raises(ConfigProblem, match=r"^config\.json: risk\.max_daily_loss"):
        check_settings(tree, "config.json")


def test_a_file_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(ConfigProblem, match="cannot be read"):
            load_settings(path)


@given(st.text(max_size=300) | st.binary(max_size=300))
def test_any_text_loads_or_is_refused_in_one_line(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigProblem) as caught:
        load_settings(file)
    assert len(str(caught.value).splitlines()) == 1


@given(st.data())
def test_the_default_with_one_damaged_place(tmp_path_factory, data):
    place = data.draw(st.integers(0, len(GOOD)))
    part = data.draw(st.text("abc:-&*!|>'\"{}[]#\n \t0", max_size=4))
    file = tmp_path_factory.getbasetemp() / "damaged.yaml"
    file.write_text(GOOD[:place] + part + GOOD[place + data.draw(st.integers(0, 4)) :])
    try:
        assert isinstance(load_settings(file), Settings)
    except ConfigProblem as problem:
        assert len(str(problem).splitlines()) == 1
