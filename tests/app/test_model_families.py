"""Every family's ONNX export is registered, passes its golden rows and trades in a replay."""

import pytest

from engine.audit_layout import Record
from engine.audit_reader import AuditFile, read_names
from ml import registry
from ml.importing import Foreign, import_onnx
from tests.app.replay_cli import SAMPLE, summary
from tests.ml.conftest import toy_spec
from tests.ml.families.make import HERE
from tests.ml.test_families import OWN, golden

FAMILIES = [*OWN, "mlp"]
HEAD = """\
assumed: {quote_size_notional: 100000, bar_spread_bps: 1}
paper: {maker_fee_bps: 1, taker_fee_bps: 2}
portfolio: {balances: {USDT: "100000"}}
risk: {max_order_notional: 500, max_position_notional: 5000, max_model_exposure: 2000,
  max_gross_exposure: 20000, max_price_deviation_pct: 1, max_orders_per_s: 50, max_open_orders: 50,
  duplicate_window_ms: 0, max_market_age_ms: 15000, max_signal_age_ms: 60000, max_daily_loss: 5000,
  max_drawdown_pct: 50, allow_short: true}
"""


@pytest.mark.slow
def test_every_family_trades_in_a_replay(tmp_path):
    root, runs = tmp_path / "artifacts", tmp_path / "runs"
    for name in FAMILIES:
        x, y = golden(name)
        said = Foreign(model_id=name, spec=toy_spec(), rows=x, answers=y, cadence="bar:1m")
        import_onnx(root, (HERE / f"{name}.onnx").read_bytes(), said)
        registry.promote(root, name, "1", why="to trade here", by="tests")
    config = tmp_path / "families.yaml"
    lines = [HEAD, f"artifacts_dir: {root}", f"runs_dir: {runs}", "strategies:"]
    lines += [
        f"  - {{name: ml_signal, models: [{', '.join(FAMILIES)}], "
        "params: {threshold: 0.4, allow_short: true}}"
    ]
    lines += ["models:"]
    lines += [f"  - {{name: {n}, model_id: {n}, cadence: 'bar:1m'}}" for n in FAMILIES]
    config.write_text("\n".join(lines) + "\n")
    found = summary(SAMPLE, "--config", config, runs=runs)
    run = next(path for path in runs.iterdir() if (path / "audit").is_dir())
    assert {model["status"].upper() for model in found["models"]} == {"SERVING"}
    names = {model.index: model.name for model in read_names(run).models}
    told, traded = set(), set()
    for block in AuditFile(run).pick((Record.DECISION, Record.EXPOSURE)):
        acted = (block["kind"] == Record.DECISION) & (block["code"] != 1)
        told |= {names[int(index)] for index in block["model"][acted]}
        moved = (block["kind"] == Record.EXPOSURE) & (block["i0"] > 0)
        traded |= {names[int(index)] for index in block["model"][moved]}
    assert told == set(FAMILIES)
    assert traded, "no model of any family came to hold anything"
    assert found["fills"] > 0
