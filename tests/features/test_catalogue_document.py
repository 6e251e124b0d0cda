"""docs/features.md says what the catalogue says."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.features.harness import folder_features

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "features.md"


def test_the_document_is_current() -> None:
    command = [sys.executable, "-m", "features.catalogue"]
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}  # the examples need no compiler
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    again = "run `NUMBA_DISABLE_JIT=1 python -m features.catalogue > docs/features.md`"
    assert DOCUMENT.read_text(encoding="utf-8") == done.stdout, again


def test_every_example_is_a_sequence() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = re.findall(r"first values on a made-up market: (.*)", text)
    assert len(shown) == len(folder_features())
    for line in shown:
        assert len([float(word) for word in line.split(", ")]) == 3


def test_it_has_a_section_for_every_feature() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for feature in folder_features():
        assert f"### `{feature.name}`" in text
        assert feature.words.source in text
