"""What a model must beat: always HOLD, the class frequencies, and a logistic regression."""

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ml.training.labels import HOLD
from ml.training.rows import Samples

CLASSES = 3
FLOOR = 1e-3  # least probability a baseline gives to a class, so that its log loss is finite
MAX_LOGISTIC_ROWS = 50_000


def _smooth(probability: np.ndarray) -> np.ndarray:
    raised = np.maximum(probability, FLOOR)
    return raised / raised.sum(axis=1, keepdims=True)


def baselines(train: Samples, test: Samples, *, seed: int) -> dict[str, np.ndarray]:
    """Return the probabilities that simple models, fitted on `train`, give for `test`.

    Args:
        train: logistic regression uses an even sample of at most MAX_LOGISTIC_ROWS of it.
        test: rows to answer.
        seed: for the solver.
    Returns:
        Name -> float64[n, 3]: `always_hold`, `class_prior`, `logistic`.
    """
    n = len(test)
    hold = np.zeros((n, CLASSES))
    hold[:, HOLD] = 1.0
    prior = np.bincount(train.label, minlength=CLASSES) / len(train)
    found = {"always_hold": _smooth(hold), "class_prior": _smooth(np.tile(prior, (n, 1)))}
    if len(np.unique(train.label)) < 2:
        return found | {"logistic": found["class_prior"]}
    chosen = np.linspace(0, len(train) - 1, min(len(train), MAX_LOGISTIC_ROWS)).astype(int)
    model = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(max_iter=300, random_state=seed),
    )
    model.fit(train.x[chosen].astype(np.float64), train.label[chosen])
    answers = np.zeros((n, CLASSES))
    answers[:, model.classes_] = model.predict_proba(test.x.astype(np.float64))
    return found | {"logistic": _smooth(answers)}
