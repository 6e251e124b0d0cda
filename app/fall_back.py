"""What takes the place of a demoted model: the version before, where the settings ask for that.

It is the version that served before in this session and is still in memory: it goes in as by a
rollback. A version that was left so does not come back with a wish for what is in production, which
may have been made for another model's sake; it does when a person names it, or has changed its
status since.
"""

from app.log import logger
from app.parts import Parts
from app.serving import Serving
from engine.audit_layout import ModelStatus
from ml.manifest import Entry


class FallBacks:
    """The fall-backs of one session.

    Args:
        parts: of the session.

    Attributes:
        due: models that were demoted, and may have something to fall back to.
    """

    def __init__(self, parts: Parts) -> None:
        self._wanted = parts.settings.watch.on_demotion == "previous"
        self._models, self._kept = parts.models, parts.swaps.kept
        self._left: dict[tuple[int, str, str], int] = {}  # with the length of its history then
        self._log = logger("models")
        self.due: list[int] = []

    def demoted(self, index: int) -> bool:
        """Note that a model was demoted; True where it is due to fall back."""
        if not self._wanted:
            return False
        if self._stands(index):
            self.due.append(index)
            return True
        name = self._models[index].settings.name
        self._log.warning("fall_back.none", model=name, remedy="it stays as it was demoted")
        return False

    def take(self) -> Serving | None:
        """Take a version out of those kept, for the first model that is due and still demoted."""
        while self.due:
            index = self.due.pop(0)
            serving = self._models[index]
            if serving.status == ModelStatus.DEMOTED and self._stands(index):
                assert serving.loaded is not None, "it has answered"
                key = (index, serving.version, serving.sha256)
                self._left[key] = len(serving.loaded.entry.history)
                return self._kept.pop(index)
        return None

    def left(self, index: int, entry: Entry) -> bool:
        """Say whether a model has left this version, and nobody has changed its status since."""
        known = self._left.get((index, entry.version, entry.sha256), -1)
        return known >= len(entry.history)

    def named(self, serving: Serving) -> None:
        """Note that a person has named a version: it is one like others again."""
        self._left.pop((serving.index, serving.version, serving.sha256), None)

    def _stands(self, index: int) -> bool:
        """Say whether a version is kept that may trade as it stood."""
        kept = self._kept.get(index)
        return kept is not None and kept.may_trade and kept.ort is not None
