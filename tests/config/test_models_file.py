"""The file of models: every example in it loads, what contradicts itself is refused by its line."""

import re
from pathlib import Path

import pytest

from config.load import DEFAULT, ConfigProblem, lay_over, load_settings
from config.settings import Settings

MODELS = DEFAULT.with_name("models.yaml")
HEAD = DEFAULT.read_text()


def examples() -> dict[str, str]:
    """Return the commented examples of config/models.yaml, by their first words."""
    found = {}
    for part in re.split(r"^# Example, ", MODELS.read_text(), flags=re.MULTILINE)[1:]:
        title, _, rest = part.partition("\n#\n")
        lines = [line.removeprefix("# ").removeprefix("#") for line in rest.splitlines()]
        found[re.split(r"[:,]", title)[0]] = "\n".join(lines).strip() + "\n"
    return found


def load(folder: Path, text: str, name: str = "models.yaml") -> Settings:
    (folder / "c.yaml").write_text(HEAD.replace("models_file: models.yaml", f"models_file: {name}"))
    (folder / name).write_text(text)
    return load_settings(folder / "c.yaml")


@pytest.mark.parametrize("title", sorted(examples()))
def test_every_example_loads(title, tmp_path):
    settings = load(tmp_path, examples()[title])
    assert settings.models
    assert settings.models_file == ""


def test_the_examples_show_every_mode_and_every_key():
    text = "".join(examples().values())
    for mode in ("shadow", "ab"):
        assert f"mode: {mode}" in text
    keys = set(Settings.__struct_fields__) & {"models", "splits"}
    assert all(f"{key}:" in text for key in keys)
    from config.settings import ModelSettings

    shown = {key for key in ModelSettings.__struct_fields__ if f"{key}:" in text}
    assert shown == set(ModelSettings.__struct_fields__)


def test_a_copy_of_the_default_file_finds_the_models_beside_it_or_in_config(tmp_path):
    (tmp_path / "c.yaml").write_text(HEAD)
    assert load_settings(tmp_path / "c.yaml") == load_settings(None)
    (tmp_path / "models.yaml").write_text(examples()["a shadow"])
    assert [model.mode for model in load_settings(tmp_path / "c.yaml").models][-1] == "shadow"
    over = tmp_path / "what_if.yaml"
    over.write_text("models_file: models.yaml\n")
    from msgspec import to_builtins

    laid = lay_over(to_builtins(load_settings(None)), over)
    assert [model.name for model in laid.models] == ["TickMLP", "TickMLP-next"]


ONE = "- {name: A, model_id: TickMLP, cadence: quote%s}\n"
TWO = "models:\n" + ONE % "" + "- {name: B, model_id: TickMLP, cadence: quote%s}\n"
FUSED = "- {name: F, fusion: {members: [A, B]%s}}\n"
BAD = {
    "a key of another file": ("risk: {}\n", r":1: risk: unknown key; known are models, splits"),
    "no origin": ("models:\n- {name: A, cadence: quote}\n", r":2: models\[0\]: give one of"),
    "two origins": ("models:\n" + ONE % ", path: a/b/1", r"not model_id and path"),
    "no cadence": ("models:\n- {name: A, model_id: T}\n", r":2: models\[0\].cadence: is missing"),
    "a cadence of its own": (
        TWO % "" + "- {name: F, cadence: quote, fusion: {members: [A, B]}}\n",
        r":4: models\[2\].cadence: a fused model is asked when",
    ),
    "ab without a split": ("models:\n" + ONE % ", mode: ab", r"split: is missing"),
    "a split without ab": (
        "splits: {t: {by: time}}\nmodels:\n" + ONE % ", split: t",
        r":3: models\[0\].split: goes with mode: ab",
    ),
    "a split of one": (
        "splits: {t: {by: time}}\nmodels:\n" + ONE % ", split: t, mode: ab",
        r":1: splits.t: has 1 models of mode ab",
    ),
    "an unknown split": ("models:\n" + ONE % ", split: t, mode: ab", r"t.? is not in splits"),
    "one member": (TWO % "" + "- {name: F, fusion: {members: [A]}}\n", r"two different models"),
    "an unknown member": (
        TWO % "" + "- {name: F, fusion: {members: [A, C]}}\n",
        r":4: models\[2\].fusion.members\[1\]: .?C.? is no model of this file",
    ),
    "a fused member": (
        TWO % "" + FUSED % "" + "- {name: G, fusion: {members: [A, F]}}\n",
        r"F is fused itself",
    ),
    "a shadow in a vote that trades": (TWO % ", mode: shadow" + FUSED % "", r"B is a shadow"),
    "too many at least": (TWO % "" + FUSED % ", min_members: 3", r"3 is more than the 2 members"),
    "stacking without its model": (TWO % "" + FUSED % ", rule: stacking", r"stacker: is missing"),
    "a stacking model in a vote": (TWO % "" + FUSED % ", stacker: a.onnx", r"goes with rule"),
    "a shadow that tells": (
        TWO.replace("quote}", "quote, mode: shadow}", 1) % ", signal_from: A",
        r":3: models\[1\].signal_from: A is a shadow",
    ),
    "a fused model's book": (
        TWO % "" + FUSED % "" + "- {name: C, model_id: T, cadence: quote, book_from: F}\n",
        r"book_from: F is fused",
    ),
    "its own signal": ("models:\n" + ONE % ", signal_from: A", r"told its own signal"),
    "an unknown rule": (TWO % "" + FUSED % ", rule: mean", r"vote, confidence or stacking"),
}


@pytest.mark.parametrize("title", BAD)
def test_what_contradicts_itself_is_one_line_that_names_file_and_key(title, tmp_path):
    text, expected = BAD[title]
    with pytest.raises(ConfigProblem, match=expected) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "models.yaml"))
    assert "\n" not in message


def test_models_stand_in_one_file_only(tmp_path):
    (tmp_path / "c.yaml").write_text(HEAD + "models: []\n")
    with pytest.raises(ConfigProblem, match=r"c.yaml:\d+: models: stands in models.yaml"):
        load_settings(tmp_path / "c.yaml")
    (tmp_path / "d.yaml").write_text(HEAD.replace("models.yaml", "nowhere.yaml"))
    with pytest.raises(ConfigProblem, match=r"nowhere.yaml: cannot be read"):
        load_settings(tmp_path / "d.yaml")
