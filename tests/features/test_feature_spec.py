"""The spec file: strict reading, one canonical form."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from features.spec import FeatureSpec, parse_spec, spec_json_schema

names = st.text("abcdefghij_0123456789", min_size=1, max_size=12)
values = st.one_of(
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)
params = st.dictionaries(names, values, max_size=3)
specs = st.lists(st.tuples(names, params), min_size=1, max_size=6, unique_by=lambda e: e[0]).map(
    lambda entries: FeatureSpec(tuple(entries))
)


@given(specs)
def test_what_is_written_is_read_back(spec: FeatureSpec) -> None:
    again = parse_spec(spec.to_json())
    assert again == spec
    assert again.sha256 == spec.sha256
    assert parse_spec(spec.canonical_json()) == spec


def test_layout_and_key_order_do_not_change_the_hash_but_feature_order_does() -> None:
    a = parse_spec('{"version":1,"features":[{"name":"vpin","params":{"mode":"bulk","span":9}}]}')
    b = parse_spec(
        '{"features": [{"params": {"span": 9, "mode": "bulk"},\n "name": "vpin"}], "version": 1}'
    )
    assert a.sha256 == b.sha256
    one = FeatureSpec((("rsi_7", {}), ("rsi_14", {})))
    other = FeatureSpec((("rsi_14", {}), ("rsi_7", {})))
    assert one.sha256 != other.sha256
    assert parse_spec('{"version":1,"features":[{"name":"x","params":{}}]}').sha256 == parse_spec(
        '{"version":1,"features":[{"name":"x"}]}').sha256  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value"),
        ("[]", "Expected `object`"),
        ('{"version": 1}', "features"),
        ('{"version": 1, "features": []}', "features is empty"),
        ('{"version": 2, "features": [{"name": "x"}]}', "reads version 1"),
        ('{"version": 1, "features": [{"nam": "x"}]}', "nam"),
        ('{"version": 1, "features": [{"name": "x", "name": "y"}]}', "'name' stands twice"),
        ('{"version": 1, "features": [{"name": "x"}, {"name": "x"}]}', "'x' stands in the list"),
        ('{"version": 1, "features": [{"name": "x", "params": {"a": [1]}}]}', "params"),
        ('{"version": 1, "features": [{"name": "x", "params": {"a": NaN}}]}', "NaN"),
        ('{"version": 1, "features": [{"name": "x", "params": {"a": 1e999}}]}', "1e999"),
        ('{"version": 1, "features": [{"name": "x"}], "extra": 1}', "extra"),
    ],
)
def test_bad_files_are_refused_in_one_line_that_names_the_file(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_spec(text, "my_spec.json")
    assert str(error.value).startswith("my_spec.json: ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_the_schema_names_the_keys() -> None:
    text = json.dumps(spec_json_schema())
    for word in ("version", "features", "params", "additionalProperties"):
        assert word in text
