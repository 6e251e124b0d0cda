"""What the documents point at is there: files, make targets, commands of lab.py."""

import re
from pathlib import Path

import pytest

import lab

ROOT = Path(__file__).resolve().parents[2]
SKIP = {".venv", ".venvs", "runs", "data", "artifacts", "build", "node_modules"}
PAGES = [
    path
    for path in ROOT.rglob("*.md")
    if not SKIP & set(path.relative_to(ROOT).parts) and ".pytest_cache" not in path.parts
]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_targets_and_commands_exist(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    gone = [to for to in links if "://" not in to and not (page.parent / to).exists()]
    targets = re.findall(r"^ +make ([a-z-]+)|`make ([a-z-]+)", text, re.MULTILINE)
    gone += [f"make {word}" for pair in targets for word in pair if word and word not in TARGETS]
    commands = re.findall(r"lab\.py ([a-z]+)", text)
    gone += [f"lab.py {word}" for word in commands if word not in lab.COMMANDS]
    assert gone == []
