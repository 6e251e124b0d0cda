"""Write docs/configuration.md from the settings' structs: `python -m config.document`."""

import ast
import io
import json
import tokenize
from pathlib import Path

from msgspec import NODEFAULT, Struct, inspect

from config import settings, shape

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
HEAD = """\
# Configuration

Made from `config/settings.py` by `.venv/bin/python -m config.document`; edit there.

A run reads one YAML file: `config/default.yaml`, or the one given with
`--config FILE`. The file stands alone: what it leaves out takes the default
below, and a setting without a default must be given. No limit and no fee is
ever assumed. Copy `config/default.yaml` and change the copy. `models` and
`splits` may stand in a file of their own, `models_file`, looked for beside it
and then in `config/`: `config/models.yaml` (docs/ensemble.md).

The file is read strictly. Refused in one line, with exit code 2, naming file,
line, key, value, what is allowed and the nearest known key:

- unknown, missing and doubled keys; values out of range or of another type;
- NaN and infinities; text where a number is wanted. `NO`, `1:30`, `010`,
  `0x1F` and `1_000` are text here, as they look like numbers only to some;
- tags, directives, merge keys, more than 1 MiB, 16 levels or 10,000 values;
- settings that contradict each other: an order limit above the position limit,
  signals that would be too old before they are used, a strategy that listens
  to a model that is not listed, two models of one name;
- secrets: they come from the environment, never from a file.

Money is in quote currency. Units stand at the end of a name: `_ms`, `_s`,
`_bps` (hundredths of a percent), `_pct` (1.5 is 1.5 %).
"""


def page() -> str:
    """Return the whole page."""
    whole = inspect.type_info(settings.Settings)
    assert isinstance(whole, inspect.StructType)
    comments = _comments(Path(settings.__file__).read_text())
    parts = [HEAD, _section("The file", whole, comments)]
    parts += _below(whole, "", comments)
    return "\n".join(parts)


def _below(
    group: inspect.StructType, above: str, comments: dict[tuple[str, str], str]
) -> list[str]:
    """Return the sections of the groups inside a group, each with those inside it."""
    parts = []
    for field in group.fields:
        kind, prefix = field.type, f"{above}{field.name}"
        if isinstance(kind, inspect.VarTupleType):
            kind, prefix = kind.item_type, f"{prefix}[]"
        if isinstance(kind, inspect.DictType):
            kind, prefix = kind.value_type, f"{prefix}.NAME"
        if isinstance(kind, inspect.UnionType):
            kind = next((one for one in kind.types if isinstance(one, inspect.StructType)), kind)
        if isinstance(kind, inspect.StructType):
            parts.append(_section(prefix, kind, comments))
            parts += _below(kind, f"{prefix}.", comments)
    return parts


def _section(title: str, kind: inspect.Type, comments: dict[tuple[str, str], str]) -> str:
    assert isinstance(kind, inspect.StructType)
    rows = [f"## {title}", "", (kind.cls.__doc__ or "").strip(), ""]
    rows += ["| setting | allowed | default | meaning |", "|---|---|---|---|"]
    for field in kind.fields:
        words = shape.allowed(field.type).replace("|", "\\|")
        meaning = comments.get((kind.cls.__name__, field.name), "")
        rows.append(f"| `{field.encode_name}` | {words} | {_default(field)} | {meaning} |")
    return "\n".join(rows) + "\n"


def _default(field: inspect.Field) -> str:
    if field.required:
        return "must be given"
    value = field.default if field.default is not NODEFAULT else field.default_factory()
    if isinstance(value, Struct):
        return "as below"
    return f"`{json.dumps(value)}`"


def _comments(source: str) -> dict[tuple[str, str], str]:
    """Return the comment behind each field: (class, field) -> text."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    words = ((t.start[0], t.string.lstrip("# ")) for t in tokens if t.type == tokenize.COMMENT)
    by_line = {line: text for line, text in words if not text.startswith("fmt:")}
    return {
        (node.name, item.target.id): by_line.get(item.end_lineno or 0)
        or by_line.get(item.lineno, "")
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }


if __name__ == "__main__":
    PAGE.write_text(page())
