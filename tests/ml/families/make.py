"""Makes the tiny models of each family: its own file, its ONNX export, and golden answers.

    make extras ARGS=deep && make extras ARGS=catboost
    .venv/bin/python -m tests.ml.families.make [FOLDER]

Rows and labels are drawn; a model here knows nothing of a market. `*.npz` holds rows `x` (NaN where
the family reads it) and the answers `y` of the source library, not of the ONNX file. Families whose
library is not installed keep the files that are there.
"""

import importlib.util
import io
import pickle
import sys
import tempfile
from pathlib import Path
from zipfile import ZIP_DEFLATED

import numpy as np

HERE = Path(__file__).resolve().parent
FEATURES, ROWS, GOLDEN = 4, 600, 40
OPSET = 17
KIND_FILES = {  # family -> (kind, file of its own)
    "lightgbm": ("lightgbm", "lightgbm.txt"),
    "xgboost": ("xgboost", "xgboost.ubj"),
    "catboost": ("catboost", "catboost.cbm"),
    "forest": ("sklearn", "forest.skops"),
    "logistic": ("sklearn", "logistic.skops"),
    "pickle": ("pickle", "logistic.pkl"),
}
READS_NAN = ("lightgbm", "xgboost", "catboost")


def drawn(seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return float32[n, 4] and labels 0, 1, 2 that follow from them with noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
    score = x[:, 0] - 0.5 * x[:, 1] + 0.7 * rng.normal(size=ROWS)
    return x, np.digitize(score, (-0.6, 0.6))


def golden(nan: bool) -> np.ndarray:
    """Return rows beside the training rows; with holes where the family reads them."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(GOLDEN, FEATURES)).astype(np.float32)
    x[0] = 0.0
    if nan:
        x[rng.random(x.shape) < 0.2] = np.nan
    return x


def lightgbm(folder: Path) -> None:
    """Train on rows with holes, thresholds brought to float32, export by way of opset 15."""
    import lightgbm as lgb
    from onnx import version_converter
    from onnxmltools.convert import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    from ml.training.onnx_graph import float32_thresholds

    x, y = drawn()
    x[np.random.default_rng(3).random(x.shape) < 0.05] = np.nan
    words = {"objective": "multiclass", "num_class": 3, "num_leaves": 6, "verbosity": -1}
    words |= {"deterministic": True, "num_threads": 1, "seed": 1, "min_data_in_leaf": 10}
    words["learning_rate"] = 0.4
    booster = float32_thresholds(lgb.train(words, lgb.Dataset(x, y), num_boost_round=5))
    (folder / "lightgbm.txt").write_text(booster.model_to_string())
    shape = [("x", FloatTensorType([None, FEATURES]))]
    model = convert_lightgbm(booster, initial_types=shape, zipmap=False, target_opset=15)
    _save(folder, "lightgbm", version_converter.convert_version(model, OPSET))
    rows = golden(nan=True)
    _answers(folder, "lightgbm", rows, booster.predict(rows, num_threads=1))


def xgboost(folder: Path) -> None:
    """Train with holes; the converter leaves the default domain out, so it is added."""
    import xgboost as xgb
    from onnx import helper
    from onnxmltools.convert import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    x, y = drawn()
    x[np.random.default_rng(3).random(x.shape) < 0.05] = np.nan
    classifier = xgb.XGBClassifier(n_estimators=4, max_depth=3, n_jobs=1, random_state=1)
    classifier.fit(x, y)
    classifier.get_booster().save_model(folder / "xgboost.ubj")
    shape = [("x", FloatTensorType([None, FEATURES]))]
    model = convert_xgboost(classifier, initial_types=shape, target_opset=15)
    model.opset_import.append(helper.make_opsetid("", OPSET))
    _save(folder, "xgboost", model)
    rows = golden(nan=True)
    _answers(folder, "xgboost", rows, classifier.predict_proba(rows))


def catboost(folder: Path) -> None:
    """Train, export, and take the dictionary of its answers out of the graph."""
    import catboost as cb
    import onnx
    from onnx import TensorProto, helper

    x, y = drawn()
    words = {"iterations": 5, "depth": 3, "loss_function": "MultiClass", "random_seed": 1}
    model = cb.CatBoost(
        {**words, "thread_count": 1, "verbose": False, "allow_writing_files": False}
    )
    model.fit(x, y)
    model.save_model(str(folder / "catboost.cbm"))
    with tempfile.TemporaryDirectory() as place:
        model.save_model(f"{place}/m.onnx", format="onnx")
        graph = onnx.load(f"{place}/m.onnx")
    zipmap = next(node for node in graph.graph.node if node.op_type == "ZipMap")
    graph.graph.node.remove(zipmap)
    del graph.graph.output[:]
    shape = helper.make_tensor_value_info(zipmap.input[0], TensorProto.FLOAT, ["n", 3])
    graph.graph.output.append(shape)
    if not any(entry.domain == "" for entry in graph.opset_import):
        graph.opset_import.append(helper.make_opsetid("", OPSET))
    graph.ir_version = 8
    del graph.metadata_props[:]
    _save(folder, "catboost", graph)
    rows = golden(nan=True)
    _answers(folder, "catboost", rows, model.predict(rows, prediction_type="Probability"))


def sklearn_models(folder: Path) -> None:
    """Train a forest, a logistic regression and a network, the latter two with their scaler."""
    import skops.io
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = drawn()
    models = {
        "forest": RandomForestClassifier(5, max_depth=3, random_state=1, n_jobs=1),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "mlp": make_pipeline(StandardScaler(), MLPClassifier((6,), max_iter=300, random_state=1)),
    }
    for name, model in models.items():
        model.fit(x, y)
        if name != "mlp":  # its own file holds what only training needs, 65 KB of it
            (folder / f"{name}.skops").write_bytes(skops.io.dumps(model, compression=ZIP_DEFLATED))
        options = {id(model): {"zipmap": False}}
        _save(folder, name, to_onnx(model, x[:1], options=options, target_opset=OPSET))
        rows = golden(nan=False)
        _answers(folder, name, rows, model.predict_proba(rows))
    buffer = io.BytesIO()
    pickle.dump(models["logistic"], buffer)
    (folder / "logistic.pkl").write_bytes(buffer.getvalue())


def networks(folder: Path) -> None:
    """Train the networks of torch; tests/ml/families/make_networks.py has them."""
    from tests.ml.families import make_networks

    make_networks.make(folder)


def agents(folder: Path) -> None:
    """Train the agents; tests/ml/families/make_agents.py has them."""
    from tests.ml.families import make_agents

    make_agents.make(folder)


def _save(folder: Path, name: str, model: object) -> None:
    """Keep only the last float output, check, write in one byte form."""
    import onnx

    del model.graph.output[:-1]
    if model.ir_version > 10:
        model.ir_version = 10
    onnx.checker.check_model(model)
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def _answers(folder: Path, name: str, x: np.ndarray, y: np.ndarray) -> None:
    np.savez_compressed(folder / f"{name}.npz", x=x, y=np.asarray(y, np.float32))


def main(folder: Path) -> list[str]:
    """Make every family whose library is installed; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for module, make in (
        ("lightgbm", lightgbm),
        ("xgboost", xgboost),
        ("catboost", catboost),
        ("sklearn", sklearn_models),
        ("torch", networks),
        ("stable_baselines3", agents),
    ):
        if importlib.util.find_spec(module) is not None:
            make(folder)
            made.append(module)
    return made


if __name__ == "__main__":
    print(main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE))
