"""`make demo-models`: train the committed demonstration models on the synthetic market."""

import ast
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from app.command_line import Parser, run
from app.train import gather, progress_bar, read_spec, statistics
from config.settings import AssumedMarket
from engine.errors import UsageError
from features.identity import kernel_identity

ROOT = Path(__file__).resolve().parents[1]
VERSION = "1"
NOTE = (
    "A demonstration. It was trained on a synthetic market whose predictability was put in on "
    "purpose, so that the first run trades. It shows that the plumbing works; it shows no skill on "
    "any real market, and must not trade real money."
)
# Whatever decides how the models come out, beside features and tape (which the data's hash covers).
PARTS = (
    "ml/training/baselines.py",
    "ml/training/calibrate.py",
    "ml/training/golden_rows.py",
    "ml/training/labels.py",
    "ml/training/metrics.py",
    "ml/training/network.py",
    "ml/training/onnx_graph.py",
    "ml/training/rows.py",
    "ml/training/signal_classifier.py",
    "ml/training/splits.py",
    "ml/training/study.py",
    "ml/training/tick_mlp.py",
    "ml/golden_tape.py",
    "store/synth_kernel.py",
    "store/synth_symbols.py",
)
ASSUMED = AssumedMarket(quote_size_notional=100_000, bar_spread_bps=1.0)


@dataclass(frozen=True)
class Demo:
    """One demonstration model: its recipe, its market, its settings."""

    model_id: str
    recipe: str  # module of ml.training
    spec: str  # name in config/features
    cadence: str
    market: dict[str, Any]  # store.synth.SynthSettings
    settings: dict[str, Any]


DEMOS = (
    Demo(
        model_id="SignalClassifier",
        recipe="signal_classifier",
        spec="signal_classifier_28",
        cadence="bar:1m",
        market={"symbols": 2, "hours": 720.0, "seed": 1101, "predictability": 0.5},
        settings={
            "horizon": 30,
            "take_profit_atr": 3.0,
            "stop_loss_atr": 3.0,
            "trees": 300,
            "max_depth": 3,
            "learning_rate": 0.05,
            "column_share": 0.5,
        },
    ),
    Demo(
        model_id="TickMLP",
        recipe="tick_mlp",
        spec="tick_mlp",
        cadence="every:250ms",
        market={"symbols": 2, "hours": 168.0, "seed": 1102, "predictability": 0.7},
        settings={
            "cadence_ms": 250,
            "horizon_ms": 10_000,
            "epochs": 12,
            "batch": 1024,
            "decay": 1e-3,
        },
    ),
)


def recipe_identity(demo: Demo) -> str:
    """Hash the parameters and the syntax trees of all code that decides how a demo comes out.

    Comments, docstrings and formatting do not count; features have their own identity.
    """
    digest = hashlib.sha256(repr((demo, NOTE, ASSUMED)).encode())
    for name in PARTS:
        tree = ast.parse((ROOT / name).read_text())
        for node in ast.walk(tree):
            if not isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
                continue
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        digest.update(f"{name} {_plain(tree)}\n".encode())
    return digest.hexdigest()


def _plain(node: Any) -> str:
    """Write a syntax tree as text that is the same under every version of Python."""
    if isinstance(node, list):
        return "[" + " ".join(_plain(item) for item in node) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = (
        f"{name}={_plain(value)}"
        for name, value in ast.iter_fields(node)
        if name not in ("ctx", "kind", "type_params", "type_comment") and value not in (None, [])
    )
    return f"{type(node).__name__}({' '.join(fields)})"


def stale(root: Path) -> dict[str, str]:
    """Return model id -> why its committed demonstration must be built again; empty when fresh.

    Args:
        root: the artifacts folder.
    """
    found = {}
    for demo in DEMOS:
        folder = root / demo.model_id / VERSION
        try:
            meta = json.loads((folder / "model.meta.json").read_bytes())
            metadata = json.loads((folder / "metadata.json").read_bytes())
        except (OSError, ValueError) as error:
            found[demo.model_id] = f"its files cannot be read: {error}"
            continue
        spec = read_spec(str(ROOT / "config" / "features" / f"{demo.spec}.json"))
        if metadata["feature_spec_sha256"] != spec.sha256:
            found[demo.model_id] = f"config/features/{demo.spec}.json has changed"
        elif metadata["kernel_identity"] != kernel_identity(spec):
            found[demo.model_id] = "the code of its features has changed"
        elif meta.get("recipe_identity") != recipe_identity(demo):
            found[demo.model_id] = "the code or parameters of its training have changed"
    return found


def build(
    demo: Demo,
    out_dir: Path,
    *,
    scratch: Path,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> Any:
    """Make the market, the rows and the model; replace what is registered.

    A model that comes out the same keeps its dates and history: a rebuild then changes no byte.

    Args:
        demo: which one.
        out_dir: the artifacts folder.
        scratch: where market and tape are kept meanwhile.
        progress: called with a stage and its share.
    Returns:
        ml.training.study.TrainResult.
    """
    from importlib import import_module

    from ml.training.rows import Source
    from store.synth import SynthSettings, write_market

    module = import_module(f"ml.training.{demo.recipe}")
    market = scratch / demo.model_id
    settings = SynthSettings(**demo.market)

    def making(symbol: str, share: float) -> None:
        progress(f"market {symbol}", share)

    write_market(settings, market, progress=making)
    spec = read_spec(str(ROOT / "config" / "features" / f"{demo.spec}.json"))
    tapes = scratch / "tapes"
    rows, digest = gather(
        [market], spec, demo.cadence, cache_dir=tapes, assumed=ASSUMED, progress=progress
    )
    name = f"synthetic market, seed {settings.seed}, {settings.hours:g} h"
    name = f"{name}, predictability {settings.predictability:g}"
    return module.train(
        rows,
        spec,
        Source(name, digest, NOTE),
        out_dir=out_dir,
        settings=module.Settings(**demo.settings),
        model_id=demo.model_id,
        version=VERSION,
        status=_status(out_dir, demo.model_id),
        replace=True,
        extra_meta={
            "recipe_identity": recipe_identity(demo),
            "market": msgspec.to_builtins(settings),
            **statistics(rows, spec),
        },
        progress=progress,
    )


def _status(out_dir: Path, model_id: str) -> Any:
    """Return `production`, or `candidate` where another version serves already."""
    from ml import registry

    if not (out_dir / "registry.json").exists():
        return "production"
    others = [
        entry
        for entry in registry.entries(out_dir)
        if entry.model_id == model_id and entry.version != VERSION
    ]
    return "candidate" if any(e.status == "production" for e in others) else "production"


def main(argv: list[str]) -> int:
    """Build the demonstration models; return the exit code."""
    parser = Parser(prog="demo_models", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "artifacts", metavar="DIR")
    parser.add_argument("--only", choices=[demo.model_id for demo in DEMOS], metavar="ID")
    parser.add_argument("--check", action="store_true", help="only say what is stale; exit 1 then")
    args = parser.parse_args(argv)
    if args.check:
        reasons = stale(args.out)
        for model_id, reason in reasons.items():
            print(f"{model_id}: stale, {reason}; run make demo-models")
        return 1 if reasons else 0
    if args.out.exists() and not args.out.is_dir():
        raise UsageError(f"--out {args.out} is a file; name a folder")
    from ml.training.card import verdict

    for demo in DEMOS:
        if args.only not in (None, demo.model_id):
            continue
        with tempfile.TemporaryDirectory(prefix="demo-") as scratch, progress_bar() as progress:
            result = build(demo, args.out, scratch=Path(scratch), progress=progress)
        entry = result.entry
        print(f"{entry.name}: {entry.status}, {entry.sha256[:16]}, {result.seconds:.0f} s")
        print(f"  {verdict(result.test)}")
    return 0


if __name__ == "__main__":
    sys.exit(run("demo_models", lambda: main(sys.argv[1:])))
