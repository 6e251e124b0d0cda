"""How each kind of model is loaded and asked. Runs in a worker only, never in a live process."""

import io
import os
import types
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# Not on skops' own list: its arrays, made by hand, could crash this worker. They run no code.
SKLEARN_TYPES = frozenset({"sklearn.tree._tree.Tree"})
Rows = Callable[[np.ndarray], Any]


@dataclass
class Served:
    """A loaded model as the worker asks it."""

    task: str  # classifier or regressor
    values: Rows
    proba: Rows
    width: int = 0  # features it reads; 0 where it does not say
    steps: int = 0
    names: tuple[str, ...] = ()
    gains: Callable[[], Mapping[str, float]] = dict
    library: str = ""

    def about(self) -> dict[str, Any]:
        """Return what the owner is told."""
        return {
            "task": self.task,
            "width": self.width,
            "steps": self.steps,
            "names": list(self.names),
            "library": self.library,
        }

    def importance(self) -> dict[str, float]:
        """Return shares that add up to 1; empty where nothing is known."""
        found = {str(name): float(gain) for name, gain in self.gains().items()}
        total = sum(found.values())
        return {name: gain / total for name, gain in found.items()} if total > 0 else {}


def load(data: bytes, order: Mapping[str, Any]) -> Served:
    """Load a model of the kind that the order names.

    Raises:
        ModuleNotFoundError: its library is not installed.
        Exception: whatever the library raises on what it cannot read.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    loaders = {
        "lightgbm": _lightgbm,
        "xgboost": _xgboost,
        "catboost": _catboost,
        "sklearn": _sklearn,
        "torch": _torch,
        "pickle": _pickle,
        "custom": _custom,
    }
    return loaders[order["kind"]](data, order)


def _lightgbm(data: bytes, order: Mapping[str, Any]) -> Served:
    import lightgbm

    text = data.decode("utf-8")
    if "objective=" not in text:
        raise ValueError("no LightGBM text model")
    booster = lightgbm.Booster(model_str=text, params={"verbosity": -1, "num_threads": 1})
    objective = text.split("objective=", 1)[1].split()[0]
    classifier = objective in ("multiclass", "multiclassova", "binary", "cross_entropy")

    def ask(rows: np.ndarray) -> np.ndarray:
        return np.asarray(booster.predict(rows, num_threads=1))

    gains = booster.feature_importance("gain")
    return Served(
        "classifier" if classifier else "regressor",
        ask,
        ask,
        width=booster.num_feature(),
        names=tuple(booster.feature_name()),
        gains=lambda: dict(zip(booster.feature_name(), gains, strict=True)),
        library=f"lightgbm {lightgbm.__version__}",
    )


def _xgboost(data: bytes, order: Mapping[str, Any]) -> Served:
    import json

    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(data))
    config = json.loads(booster.save_config())
    objective = config["learner"]["objective"]["name"]
    classifier = objective.startswith(("multi:", "binary:"))
    names = tuple(booster.feature_names or ())
    width = booster.num_features()

    def ask(rows: np.ndarray) -> np.ndarray:
        matrix = xgboost.DMatrix(rows, feature_names=list(names) or None, nthread=1)
        return booster.predict(matrix)

    return Served(
        "classifier" if classifier else "regressor",
        ask,
        ask,
        width=width,
        names=names,
        gains=lambda: booster.get_score(importance_type="total_gain"),
        library=f"xgboost {xgboost.__version__}",
    )


def _catboost(data: bytes, order: Mapping[str, Any]) -> Served:
    import catboost

    plain = catboost.CatBoost()
    plain.load_model(blob=data)
    classifier = bool(len(plain.classes_))
    options = {"thread_count": 1}
    names = tuple(plain.feature_names_ or ())
    return Served(
        "classifier" if classifier else "regressor",
        lambda rows: plain.predict(rows, prediction_type="RawFormulaVal", **options),
        lambda rows: plain.predict(rows, prediction_type="Probability", **options),
        width=len(names),
        names=names,
        gains=lambda: dict(zip(names, plain.get_feature_importance(), strict=True)),
        library=f"catboost {catboost.__version__}",
    )


def _sklearn(data: bytes, order: Mapping[str, Any]) -> Served:
    import sklearn
    import skops.io

    asked = skops.io.get_untrusted_types(data=data)
    if foreign := sorted(set(asked) - SKLEARN_TYPES):
        raise ValueError(f"the file holds types that are not scikit-learn's: {foreign[:5]}")
    found = skops.io.loads(data, trusted=asked)
    return _estimator(found, f"scikit-learn {sklearn.__version__}")


def _pickle(data: bytes, order: Mapping[str, Any]) -> Served:
    import pickle

    found = pickle.loads(data)  # noqa: S301 - the owner has checked hash, registry and permission
    return _estimator(found, f"pickle of {type(found).__module__}.{type(found).__name__}")


def _estimator(found: Any, library: str) -> Served:
    """Serve whatever has scikit-learn's methods."""
    classifier = hasattr(found, "predict_proba")
    names = tuple(str(name) for name in getattr(found, "feature_names_in_", ()))
    last = found.steps[-1][1] if hasattr(found, "steps") else found
    width = int(getattr(found, "n_features_in_", 0))
    gains = getattr(last, "feature_importances_", None)
    if gains is None and hasattr(last, "coef_"):
        gains = np.abs(np.atleast_2d(last.coef_)).mean(axis=0)
    if gains is None:
        gains = np.zeros(0)
    shown = names or tuple(f"f{k}" for k in range(len(gains)))
    return Served(
        "classifier" if classifier else "regressor",
        found.predict,
        found.predict_proba if classifier else _no_probabilities,
        width=width,
        names=names,
        gains=lambda: dict(zip(shown, gains)),
        library=library,
    )


def _custom(data: bytes, order: Mapping[str, Any]) -> Served:
    """Run a Python file and serve the class that the order names."""
    model = getattr(_module(data, "custom_model"), order["factory"])()
    about = model.get_model_info() if hasattr(model, "get_model_info") else {}
    return Served(
        str(about.get("task", "classifier")),
        model.predict,
        model.predict_proba,
        width=int(about.get("features", 0)),
        steps=int(about.get("steps", 0)),
        names=tuple(about.get("feature_names", ())),
        gains=getattr(model, "get_feature_importance", dict),
        library="custom",
    )


def _torch(data: bytes, order: Mapping[str, Any]) -> Served:
    """Serve TorchScript, or a state dict in the network that the order names.

    A GPU is taken where torch finds one, with whole float32: with shortened products (TF32) it
    answers otherwise than the CPU, and golden rows would not hold.
    """
    import torch

    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = False  # it chooses by a stopwatch
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if order["factory"]:
        name = order["factory"].rpartition(":")[2]
        network = getattr(_module(order["source"].encode(), "torch_network"), name)()
        network.load_state_dict(torch.load(io.BytesIO(data), weights_only=True, map_location="cpu"))
    elif _is_script(data):
        network = torch.jit.load(io.BytesIO(data), map_location="cpu")
    else:
        raise ValueError("no TorchScript; of a state dict say the network too, net.py:Net")
    network = network.to(device).eval()

    def ask(rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            found = network(torch.from_numpy(rows).to(device))
        found = found[-1] if isinstance(found, tuple | list) else found
        return found.float().cpu().numpy()

    return Served(
        order["task"] or "classifier", ask, ask, library=f"torch {torch.__version__} on {device}"
    )


def _is_script(data: bytes) -> bool:
    """Say whether a file of torch holds TorchScript: only there constants stand in the archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _module(source: bytes, name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    code = compile(source, f"<{name}>", "exec")
    exec(code, module.__dict__)  # noqa: S102 - the owner has allowed this file
    return module


def _no_probabilities(rows: np.ndarray) -> np.ndarray:
    raise ValueError("this model gives values, no probabilities; use predict")
