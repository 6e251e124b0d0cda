"""What runs have shown of a model: counted from their audits, for the promotion gates."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.audit_layout import Record
from engine.audit_reader import AuditFile, read_names
from engine.events import HoldReason
from ml.governance import Evidence

NS_PER_DAY = 86_400 * 1_000_000_000
ASKED = (HoldReason.NONE, HoldReason.MODEL_SAYS_HOLD, HoldReason.BELOW_THRESHOLD)
STRIKES = (HoldReason.MODEL_NAN, HoldReason.MODEL_FAILED, HoldReason.MODEL_LATE)


def evidence_of(runs: Sequence[Path], sha256: str) -> Evidence:
    """Count what runs say of one model file.

    Args:
        runs: run folders; a run counts where the model with these bytes was in it, whatever it was
            called there, and each run once. Only decisions for which it was asked count.
        sha256: of the model's file.
    Raises:
        DataError: a folder is no run.
    """
    days, decisions, strikes, named = 0.0, 0, 0, []
    for run in dict.fromkeys(path.resolve() for path in runs):
        names = read_names(run)
        indices = [model.index for model in names.models if model.sha256 == sha256]
        if not indices:
            continue
        first, last = 0, 0
        for block in AuditFile(run).pick((Record.DECISION, Record.SHADOW)):
            reasons = block["aux"] & 0xFF
            mine = block[np.isin(block["model"], indices) & np.isin(reasons, (*ASKED, *STRIKES))]
            if not len(mine):
                continue
            first = first or int(mine["ts"][0])
            last = int(mine["ts"][-1])
            decisions += len(mine)
            strikes += int(np.isin(mine["aux"] & 0xFF, STRIKES).sum())
        days += (last - first) / NS_PER_DAY
        named.append(run.name)
    return Evidence(days=days, decisions=decisions, strikes=strikes, runs=tuple(named))
