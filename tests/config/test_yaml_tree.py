"""The strict YAML reader: what plain scalars are, and where things stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.yaml_tree import YamlProblem, read_tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-0", 0),
        ("+7", 7),
        ("9223372036854775807", 2**63 - 1),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("-2.5E-3", -0.0025),
        ("true", True),
        ("null", None),
        ("~", None),
        *(
            (word, word)
            for word in "yes No ON off True NULL y 1:30 010 0o7 0x1F 1_000 2020-01-01".split()
        ),
        ("'12'", "12"),
        ('"true"', "true"),
        ("|-\n  010", "010"),
    ],
)
def test_scalars(text, value):
    tree, _ = read_tree(f"a: {text}\n".encode())
    assert tree == {"a": value}
    assert type(tree["a"]) is type(value)


def test_lines_are_known_by_path():
    tree, lines = read_tree(b"a:\n  - b: 1\n    c: 2\n  - 3\nd: {e: 4}\n")
    assert tree == {"a": [{"b": 1, "c": 2}, 3], "d": {"e": 4}}
    assert lines == {
        ("a",): 1,
        ("a", 0): 2,
        ("a", 0, "b"): 2,
        ("a", 0, "c"): 3,
        ("a", 1): 4,
        ("d",): 5,
        ("d", "e"): 5,
    }


def test_an_alias_counts_as_much_as_what_it_stands_for():
    text = "a: &a [{}]\nb: [{}]\n".format(",".join("x" * 900), ",".join(["*a"] * 9))
    assert len(read_tree(text.encode())[0]["b"]) == 9
    with pytest.raises(YamlProblem, match="values"):
        read_tree(text.replace("[*a", "[*a,*a,*a").encode())


@pytest.mark.parametrize(
    "text", ["1: a", "true: a", "? [b]\n: c", "? {b: c}\n: d", "!x a: 1", "1.5: b"]
)
def test_keys_are_text(text):
    with pytest.raises(YamlProblem):
        read_tree(text.encode())


@given(
    st.dictionaries(
        st.text("abc", min_size=1), st.integers(-(2**63) + 1, 2**63 - 1) | st.booleans()
    )
)
def test_what_was_written_is_read(pairs):
    text = "".join(f"{key}: {str(value).lower()}\n" for key, value in pairs.items())
    assert (read_tree(text.encode())[0] or {}) == pairs
