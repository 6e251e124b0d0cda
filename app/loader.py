"""Loads versions of models beside a session: registry to golden rows, in a thread of its own.

The loader's thread is in no hurry: it gives way by itself and is of lower priority
(ml/runtime/switching.py). Threads inherit that, so that a model's own is begun by another one.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from app.fall_back import FallBacks
from app.inference import Inference
from app.opening import load_version
from app.parts import Parts
from app.serving import Serving
from app.swap import check_fit, check_kind
from ml.refusal import ModelRefused
from ml.registry import View
from ml.runtime.switching import giving_way, in_no_hurry

PRODUCTION = "production"


class Want(NamedTuple):
    """A model that should go over to a version; an empty one asks for that before."""

    model: int  # its index
    version: str
    cause: str


class Loader:
    """The threads that load a session's versions, one at a time.

    Args:
        parts: the session's, built.
        named: `ID:VERSION` of the command line; these may trade whatever their status.
        left: says whether a model has left a version, see FallBacks.
        threads: of the models on threads; None where no model may have one.
        signal_file: its name, for what a person is told.
    """

    def __init__(
        self,
        parts: Parts,
        named: frozenset[str],
        left: FallBacks,
        threads: Inference | None,
        signal_file: str,
    ) -> None:
        self._parts = parts
        self._artifacts = Path(parts.settings.artifacts_dir)
        self._named = named
        self._left = left
        self._threads = threads
        self._signal_file = signal_file
        served = [one.loaded for one in parts.models if one.loaded is not None]
        # What computes these features was checked when the session began, and runs: it is not
        # looked through again, which takes as long as all other checks.
        self._known = {one.spec.sha256: one.entry.kernel_identity for one in served}
        self._worker = ThreadPoolExecutor(1, "model-loader", initializer=in_no_hurry)
        self._starter = ThreadPoolExecutor(1, "model-starter")

    def submit(self, work: Callable[..., Any], *given: Any) -> Future[Any]:
        """Have something done after what is being loaded."""
        return self._worker.submit(work, *given)

    def load(self, want: Want, now: tuple[str, str]) -> Future[Serving | str | None]:
        """Load and check a version; None where it serves, a reason where it is refused.

        Args:
            want: the model and its version.
            now: version and sha256 that serve, the hash empty where none does.
        """
        return self._starter.submit(self._ready, want, now)

    def close(self) -> None:
        """Begin nothing more."""
        for threads in (self._starter, self._worker):
            threads.shutdown(wait=False, cancel_futures=True)

    def _ready(self, want: Want, now: tuple[str, str]) -> Serving | str | None:
        """Have it loaded, and begin its model's thread."""
        found = self._worker.submit(self._load, want, now).result()
        if isinstance(found, Serving) and found.threaded and self._threads is not None:
            try:
                with giving_way():
                    self._threads.prepare(found)
            except Exception as error:  # whatever a candidate does costs the candidate only
                return _refused(found, error)
        return found

    def _load(self, want: Want, now: tuple[str, str]) -> Serving | str | None:
        candidate = Serving(want.model, self._parts.models[want.model].settings)
        try:
            with giving_way():
                return candidate if self._check(candidate, want, now) else None
        except Exception as error:
            return _refused(candidate, error)

    def _check(self, candidate: Serving, want: Want, now: tuple[str, str]) -> bool:
        """Load a version whole; False where it serves already.

        Raises:
            ModelRefused: with the reason.
        """
        settings = candidate.settings
        view = View(self._artifacts)
        if view.problem:
            raise ModelRefused("registry.torn", "registry.json cannot be read now")
        entry = view.find(settings.model_id, want.version)
        if (entry.version, entry.sha256) == now:
            return False
        if want.version == PRODUCTION and self._left.left(want.model, entry):
            text = f"{entry.name} was demoted here: name it in {self._signal_file} to go back"
            raise ModelRefused("model.status", text)
        known = entry.status == PRODUCTION or entry.name in self._named
        if not candidate.is_shadow and not known:
            text = f"{entry.name} is {entry.status}: `lab.py models promote {entry.name}` first"
            raise ModelRefused("model.status", text)
        candidate.version = entry.version
        load_version(candidate, self._artifacts, view, self._known)
        check_fit(candidate, self._parts.specs)
        check_kind(candidate, self._parts.models[want.model])
        candidate.may_trade = not candidate.is_shadow
        return True


def _refused(candidate: Serving, error: Exception) -> str:
    """Free a candidate and say why."""
    candidate.close()
    if isinstance(error, ModelRefused):
        return str(error)
    return f"{candidate.settings.model_id}: {type(error).__name__}: {str(error)[:200]}"


def unwanted(work: Future[Serving | str | None]) -> None:
    """Free a version that was loaded for a session that has ended meanwhile."""
    if work.cancelled() or work.exception() is not None:
        return
    if isinstance(found := work.result(), Serving):
        found.close()
