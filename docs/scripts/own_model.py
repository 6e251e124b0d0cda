"""Somebody's own model, as docs/models.md adopts it: own features, own training, own export.

    .venv/bin/python docs/scripts/own_model.py data/sample/synthetic/BTCUSDT /somewhere

Reads trades, makes minute bars and four features with NumPy alone (nothing of Tickgate's), trains a
logistic regression, and writes X.parquet, model.onnx and metadata.json into the second folder.
`--seed first` starts the means of the RSI with the first change, as pandas' ewm(adjust=False) does,
instead of with the mean of the first 14: the mistake that is found most often.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

MINUTE = 60_000_000_000
NAMES = ("RSI", "ret_1", "StochK", "mom10")


def minute_bars(folder: Path) -> dict[str, np.ndarray]:
    """Return minute bars of the trades in a folder; a minute without a trade repeats the close."""
    files = sorted((folder / "trades").glob("*.parquet"))
    table = pa.concat_tables([parquet.read_table(file) for file in files])
    minute = table["ts_event"].to_numpy() // MINUTE
    price = table["price"].to_numpy()
    stamps = np.arange(minute[0], minute[-1] + 1)
    close, high, low = (np.empty(len(stamps)) for _ in range(3))
    last = price[0]
    for k, stamp in enumerate(stamps):
        mine = price[np.searchsorted(minute, stamp) : np.searchsorted(minute, stamp, "right")]
        mine = mine if len(mine) else np.array([last])
        last = mine[-1]
        close[k], high[k], low[k] = last, mine.max(), mine.min()
    return {"ts_event": stamps * MINUTE, "high": high, "low": low, "close": close}


def wilder(x: np.ndarray, span: int, seed: str) -> np.ndarray:
    """Return Wilder's mean of x from its second value on."""
    first, value = (span, x[1 : span + 1].mean()) if seed == "mean" else (1, x[1])
    out = np.full(len(x), np.nan)
    out[first] = value
    for k in range(first + 1, len(x)):
        value += (x[k] - value) / span
        out[k] = value
    return out


def before(x: np.ndarray, n: int) -> np.ndarray:
    """Return the values n rows earlier."""
    return np.concatenate([np.full(n, np.nan), x[:-n]])


def features(bars: dict[str, np.ndarray], seed: str) -> np.ndarray:
    """Return float64[n, 4], NaN until there are enough bars."""
    close = bars["close"]
    move = np.diff(close, prepend=close[0])
    up, down = wilder(np.maximum(move, 0), 14, seed), wilder(np.maximum(-move, 0), 14, seed)
    windows = np.lib.stride_tricks.sliding_window_view
    lead = np.full(13, np.nan)
    low = np.concatenate([lead, windows(bars["low"], 14).min(axis=1)])
    high = np.concatenate([lead, windows(bars["high"], 14).max(axis=1)])
    columns = (
        100 * up / (up + down),
        close / before(close, 1) - 1,
        100 * (close - low) / (high - low),
        100 * (close / before(close, 10) - 1),
    )
    return np.stack(columns, axis=1)


def main() -> None:
    """Make the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", choices=("mean", "first"), default="mean")
    args = parser.parse_args()
    bars = minute_bars(args.data)
    x = features(bars, args.seed)
    after = np.append(np.diff(np.log(bars["close"])), np.nan)
    y = np.digitize(after, (-1e-4, 1e-4))
    good = np.isfinite(x).all(axis=1) & np.isfinite(after)
    mean, std = x[good].mean(axis=0), x[good].std(axis=0)
    model = LogisticRegression().fit(((x[good] - mean) / std).astype(np.float32), y[good])
    options = {id(model): {"zipmap": False}}
    onnx = to_onnx(model, np.zeros((1, 4), np.float32), options=options, target_opset=17)
    del onnx.graph.output[:-1]
    said = model.predict_proba(np.nan_to_num((x - mean) / std).astype(np.float32))
    said[~np.isfinite(x).all(axis=1)] = np.nan
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "model.onnx").write_bytes(onnx.SerializeToString())
    about = {
        "model_id": "OwnModel",
        "version": "1",
        "feature_names": NAMES,
        "mean": mean.tolist(),
        "std": std.tolist(),
        "actions": ["sell", "hold", "buy"],
    }
    (args.out / "metadata.json").write_text(json.dumps(about, indent=2))
    columns = {"timestamp": bars["ts_event"]} | dict(zip(NAMES, x.T))
    columns |= dict(zip(("p_sell", "p_hold", "p_buy"), said.T))
    parquet.write_table(pa.table(columns), args.out / "X.parquet")


if __name__ == "__main__":
    main()
