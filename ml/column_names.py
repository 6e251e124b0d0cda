"""Finds the catalogue feature that a column of somebody's matrix most likely is, by its name."""

import difflib
import re
from collections.abc import Mapping, Sequence

from engine.errors import ConfigError
from features.registry import catalogue, lookup

TIME_NAMES = ("ts_event", "ts", "timestamp", "time", "datetime", "date", "open_time", "close_time")
SYMBOL_NAMES = ("symbol", "instrument", "ticker", "pair")
_PREFIX = re.compile(r"^(feat|feature|f|x|num)_+(?=[a-z])")
_ALIASES = (  # other names that are in use, as patterns over the normal form
    (r"(?:log_?)?(?:ret|return|returns|pct_change)_?(\d+)", r"returns_\1"),
    (r"(?:ret|return|returns|pct_change)", "returns_1"),
    (r"(?:relative_strength_index|rsi)", "rsi_14"),
    (r"mom(?:entum)?_?(\d+)", r"momentum_\1"),
    (r"roc_?(\d+)", r"momentum_\1"),
    (r"(?:close|price)_(?:to|vs|over)_ema_?(\d+)", r"price_vs_ema_\1"),
    (r"ema_?(\d+)_(?:dist|distance|ratio|gap)", r"price_vs_ema_\1"),
    (r"macd_?(?:hist|histogram)", "macd_histogram"),
    (r"(?:stoch(?:astic)?_?k|slow_?k)", "stoch_k"),
    (r"(?:stoch(?:astic)?_?d|slow_?d)", "stoch_d"),
    (r"(?:atr|natr|atr_percent)(?:_14)?", "atr_pct"),
    (r"(?:bb|bollinger)_?(?:pos|position|pct_?b|percent_?b)", "bb_position"),
    (r"(?:bb|bollinger)_?(?:width|bandwidth)", "bb_width"),
    (r"adx", "adx_14"),
    (r"(?:plus_di|di_?plus)(?:_14)?", "di_plus"),
    (r"(?:minus_di|di_?minus)(?:_14)?", "di_minus"),
    (r"vol(?:ume)?_ratio", "volume_ratio"),
    (r"vol(?:ume)?_z(?:_?score)?", "volume_zscore"),
    (r"spread(?:_bps)?", "bid_ask_spread"),
    (r"(?:obi|imbalance|queue_imbalance)", "book_imbalance"),
    (r"(?:ofi)_?(\d+s)?", r"order_flow_imbalance_\1"),
    (r"(?:sin_hour|hour_of_day_sin)", "hour_sin"),
    (r"(?:cos_hour|hour_of_day_cos)", "hour_cos"),
)


def normal_form(name: str) -> str:
    """Write a name as the catalogue would: lower case, words parted by one `_`.

    >>> normal_form("RSI14"), normal_form("feat_BollingerWidth"), normal_form("ret.5")
    ('rsi_14', 'bollinger_width', 'ret_5')
    """
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    text = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").lower()
    text = re.sub(r"(?<=[a-z])(?=\d+$)", "_", text)
    return _PREFIX.sub("", text)


def feature_of(name: str) -> str:
    """Return the catalogue feature of a column's name, "" where there is none.

    >>> feature_of("rsi_14"), feature_of("Ret5"), feature_of("macdHist"), feature_of("sentiment")
    ('rsi_14', 'returns_5', 'macd_histogram', '')
    """
    form = normal_form(name)
    for candidate in (name, form, form.replace("_", "")):
        if _known(candidate):
            return candidate
    for pattern, target in _ALIASES:
        found = re.fullmatch(pattern, form)
        if found and _known(named := found.expand(target)):
            return named
    return ""


def _known(name: str) -> bool:
    try:
        lookup(name)
    except ConfigError:
        return False
    return True


def map_columns(
    columns: Sequence[str], given: Mapping[str, str], targets: Sequence[str] = ()
) -> dict[str, str]:
    """Return column -> feature, "" where none is found; what is given goes first.

    Args:
        columns: names in the matrix.
        given: column -> feature, as the user says.
        targets: features to choose from; empty takes the whole catalogue.
    """
    found: dict[str, str] = {}
    for column in columns:
        feature = given.get(column) or feature_of(column)
        if not feature and normal_form(column) in targets:
            feature = normal_form(column)
        found[column] = feature if not targets or feature in targets else ""
    return found


def nearest_features(name: str, count: int = 3) -> list[str]:
    """Return catalogue features with names like this one.

    >>> nearest_features("rsi_signal")[0]
    'rsi_14'
    """
    form = normal_form(name)
    words = {word for word in form.split("_") if not word.isdigit()}
    ranked = []
    for entry in catalogue():
        shown = entry.name.format(**entry.defaults)
        like = difflib.SequenceMatcher(None, form, shown).ratio()
        shared = bool(words & set(shown.split("_")))
        if shared or like >= 0.6:
            ranked.append((-int(shared), -like, shown))
    return [shown for _, _, shown in sorted(ranked)[:count]]
