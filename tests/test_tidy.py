"""The house rules that a machine can keep: who may import whom, purity, ceilings, names, words."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SPOKES = {"features", "strategies", "risk", "venues", "store"}
MAY_IMPORT = {
    "config": set(),
    "engine": {"config"},
    **{spoke: {"config", "engine"} for spoke in SPOKES},
    "ml": {"config", "engine", *SPOKES},
    "references": {"engine"},  # formulas stated a second time: they see nothing of features/
    "app": {"config", "engine", *SPOKES, "ml", "references"},
    "lab.py": {"app"},
    "run_live.py": {"app"},
}
ENTRIES = {"venues/embedded/__main__.py": {"app"}}  # a program's first lines, like lab.py
ROOMS = {*MAY_IMPORT, "tests", "benchmarks"} - {"lab.py", "run_live.py"}
OFFLINE = set(
    "catboost exchange_calendars lightgbm onnx onnxmltools optuna mlflow pandas polars scipy"
    " skl2onnx sklearn skops torch xgboost".split()
)
LAZY = {"apprise", "ccxt", "matplotlib", "onnxruntime"}  # heavy: imported where they are used
OUR_HALF = re.compile(
    r"features/(?!fuse\.py)|strategies/|risk/(?!killswitch)|engine/(kernel/|pipeline|orders|portfolio"
    r"|events|account_state|client_ids|reconcile|venue_events|wire_order)|venues/\w+/(decode|sync|encode)"
)
IMPURE = set(
    "time random socket threading asyncio subprocess secrets select queue tempfile".split()
)
IMPURE_CALLS = set(
    "open now utcnow today read_text read_bytes write_text write_bytes urandom".split()
)
BAD_NAMES = set("types signal queue select logging utils helpers misc common base manager".split())
WORDS = "TO" + "DO|FIX" + "ME|stu" + "bs?|place" + "holders?|NotImplemented" + "Error"
ORIGINS = (
    r"/(work|tmp|root|home)/\w|pypi\.|python"
    "hosted|clau" + "de|open" + r"ai\b|chat" + "gpt|copi" + "lot"
)
BAD_WORDS = re.compile(rf"\b({WORDS})\b|{ORIGINS}", re.IGNORECASE)
MAX_LINES, MAX_FUNCTION, MAX_METHODS, MAX_POSITIONAL = 400, 60, 12, 5


def tracked() -> list[str]:
    """Return the repository's files, from git or, in an unpacked archive, from the folders."""
    git = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]
    skip = {".venv", ".venvs", "runs", "build"}
    files = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
    return [str(path) for path in files if not skip & set(path.parts)]


FILES = tracked()


@cache
def trees() -> dict[str, ast.Module]:
    """Parse every file of Python."""
    return {
        name: ast.parse((ROOT / name).read_text())
        for name in FILES
        if name.endswith(".py") and not name.startswith(("artifacts/", "runs/"))
    }


def ours() -> dict[str, ast.Module]:
    """Return the trees of the engine's rooms."""
    return {name: tree for name, tree in trees().items() if name.split("/")[0] in MAY_IMPORT}


def imports(tree: ast.AST) -> list[tuple[str, int]]:
    """Return every imported module with its line."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(("." * node.level + (node.module or ""), node.lineno))
    return found


def listed(faults: list[str]) -> str:
    """Return one fault a line."""
    return "\n".join(sorted(faults))


def test_rooms_import_only_what_lies_below():
    assert not listed(
        [
            f"{name}:{line} imports {module}"
            for name, tree in ours().items()
            for module, line in imports(tree)
            if module.startswith(".")
            or (
                (top := module.split(".")[0]) in ROOMS | {"lab", "run_live"}
                and top != (room := name.split("/")[0])
                and top not in ENTRIES.get(name, MAY_IMPORT[room])
            )
        ]
    )


def test_live_code_does_not_import_offline_packages():
    training = ("ml/training/", "ml/worker/", "references/", "app/train", "app/demo")
    training += ("app/session_table", "app/feature_drift")
    assert not listed(
        [
            f"{name}:{line} imports {module}"
            for name, tree in ours().items()
            if not name.startswith(training)
            for module, line in imports(tree)
            if module.split(".")[0] in OFFLINE or module.startswith("ml.training")
            if not (name.startswith("app/") and module.startswith("ml.training"))
        ]
    )


def test_heavy_packages_are_imported_where_they_are_used():
    assert not listed(
        [
            f"{name}:{line} imports {module} at the top"
            for name, tree in ours().items()
            for top in tree.body
            if isinstance(top, ast.Import | ast.ImportFrom)
            for module, line in imports(top)
            if module.split(".")[0] in LAZY
        ]
    )


def test_pure_rooms_have_no_clock_wait_file_socket_or_chance():
    faults = []
    for name, tree in trees().items():
        if not OUR_HALF.match(name):
            continue
        faults += [f"{name}:{n} imports {m}" for m, n in imports(tree) if m.split(".")[0] in IMPURE]
        for node in ast.walk(tree):
            if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
                faults.append(f"{name}:{node.lineno} waits")
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called.split(".")[-1] in IMPURE_CALLS or called.startswith("np.random."):
                    faults.append(f"{name}:{node.lineno} calls {called}")
    assert not listed(faults)


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return all functions in a tree."""
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_ceilings():
    faults = []
    for name, tree in trees().items():
        count = len((ROOT / name).read_text().splitlines())
        if count > MAX_LINES:
            faults.append(f"{name} has {count} lines")
        for node in functions(tree):
            where = f"{name}:{node.lineno} {node.name}"
            if (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION:
                faults.append(f"{where} has {length} lines")
            positional = [a.arg for a in node.args.posonlyargs + node.args.args]
            own = [arg for arg in positional if arg not in ("self", "cls")]
            words = [ast.unparse(word) for word in node.decorator_list]
            jitted = any(re.search("jit|step|kernel", word) for word in words)
            if len(own) > MAX_POSITIONAL and not jitted and not name.startswith("tests/"):
                faults.append(f"{where} has {len(own)} positional parameters")
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                methods = [f.name for f in node.body if isinstance(f, ast.FunctionDef)]
                public = sum(not method.startswith("_") for method in methods)
                if public > MAX_METHODS:
                    faults.append(f"{name}:{node.lineno} {node.name} has {public} public methods")
    assert not listed(faults)


def test_files_say_what_they_are_for_and_have_telling_names():
    faults = [f"{name} has no docstring" for name, t in trees().items() if not ast.get_docstring(t)]
    faults = [fault for fault in faults if "__init__.py" not in fault]
    faults += [
        f"{n} is not empty" for n, t in trees().items() if n.endswith("__init__.py") and t.body
    ]
    faults += [f"{name}: bad name" for name in trees() if Path(name).stem in BAD_NAMES]
    assert not listed(faults)


def test_words_and_paths_that_have_no_place_here():
    faults = []
    for name in FILES:
        if not name.endswith(
            (".py", ".md", ".yaml", ".toml", ".in", ".txt", ".html", "Makefile", "run")
        ):
            continue
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1):
            if found := BAD_WORDS.search(line):
                faults.append(f"{name}:{number} says {found[0]}")
    assert not listed(faults)


@pytest.mark.parametrize("name", sorted(ROOMS | {"lab", "run_live"}))
def test_no_package_or_library_has_the_name_of_a_room(name):
    assert name not in sys.stdlib_module_names
    assert name not in importlib.metadata.packages_distributions()


DOORS = {  # names that lead to a venue, and the only files of the product that may say them
    "_GATE_KEY": {"engine/orders.py", "risk/gate.py"},
    "Approved(": {"risk/gate.py"},
    "free_line": {"engine/kernel/placing.py", "risk/order_kernel.py"},
    "place_order": {"engine/kernel/placing.py", "risk/order_kernel.py", "app/desk_module.py"},
    "send_order": {"risk/order_kernel.py", "app/desk_module.py"},
}


@pytest.mark.parametrize("name", DOORS)
def test_only_the_gate_opens_the_door_to_a_venue(name):
    users = {
        file
        for file in trees()
        if not file.startswith(("tests/", "benchmarks/")) and name in (ROOT / file).read_text()
    }
    assert users - DOORS[name] - ({"engine/orders.py"} if name == "Approved(" else set()) == set()
    assert users & DOORS[name], f"nobody says {name} any more"
