"""The two digest streams of an audit, and what a chain link says beside them.

Each record is hashed once: a link seals the streams as they stand after its last record, the kinds
of its records (which record belongs to which stream, and in which order), and what is in neither
stream. Only `seq` is left out, which is the record's place.
"""

import hashlib

import numpy as np

from engine.audit_layout import (
    AUDIT,
    AUDIT_BYTES,
    DECISION_STREAM,
    DIGEST_FROM,
    ORDER_STREAM,
    SHADOW_STREAM,
)

_KIND_AT = int(AUDIT.fields["kind"][1])  # type: ignore[index]
_IN_DECISIONS = np.isin(np.arange(256), DECISION_STREAM)
_IN_ORDERS = np.isin(np.arange(256), ORDER_STREAM)
_IN_SHADOWS = np.isin(np.arange(256), SHADOW_STREAM)
_IN_NEITHER = ~(_IN_DECISIONS | _IN_ORDERS)
_WHOLE = np.dtype((np.void, AUDIT_BYTES))  # picked as one piece: numpy copies fields one by one


def chain_value(previous: bytes, decisions: bytes, orders: bytes, rest: bytes) -> bytes:
    """Return the next chain value: sha256(previous || decisions || orders || rest).

    Args:
        previous: the value before, 32 zero bytes at the start.
        decisions, orders: sha256 of either digest stream up to the link's last record.
        rest: `link_rest` of the link's records: what the streams do not say.

    >>> chain_value(bytes(32), b"", b"", b"").hex()[:16]
    '66687aadf862bd77'
    """
    return hashlib.sha256(previous + decisions + orders + rest).digest()


class Streams:
    """The running hashes of the three streams; see engine/audit_layout.py."""

    def __init__(self) -> None:
        """Start with nothing hashed."""
        self._decisions = hashlib.sha256()
        self._orders = hashlib.sha256()
        self._shadows = hashlib.sha256()  # beside the chain, which seals these records as they are
        self.shadows = 0

    def update(self, records: np.ndarray) -> None:
        """Hash the next AUDIT[n] records, contiguous."""
        octets = records.view(np.uint8).reshape(-1, AUDIT_BYTES)
        kinds = octets[:, _KIND_AT]
        for member, stream in ((_IN_DECISIONS, self._decisions), (_IN_ORDERS, self._orders)):
            chosen = member[kinds]
            count = int(np.count_nonzero(chosen))
            if count == len(octets):  # a stretch of one stream: no picking
                stream.update(np.ascontiguousarray(octets[:, DIGEST_FROM:]))
            elif count:
                stream.update(_hashed(records, chosen))
        chosen = _IN_SHADOWS[kinds]
        if chosen.any():
            self._shadows.update(_hashed(records, chosen))
            self.shadows += int(np.count_nonzero(chosen))

    def shadow_digest(self) -> str:
        """Return the digest of what the shadows decided in hex, empty where there are none."""
        return self._shadows.hexdigest() if self.shadows else ""

    def digest(self) -> str:
        """Return the decision digest of what was hashed: sha256(decisions || orders) in hex."""
        return hashlib.sha256(self._decisions.digest() + self._orders.digest()).hexdigest()

    def chain(self, previous: bytes, rest: bytes) -> bytes:
        """Return the chain value of a link whose last record is the last that was hashed.

        Args:
            previous: the value before.
            rest: both parts of `link_rest` of the link's records, one after the other.
        """
        return chain_value(previous, self._decisions.digest(), self._orders.digest(), rest)


def link_rest(records: np.ndarray) -> tuple[bytes, bytes]:
    """Return what a link says of AUDIT[n] records beside the streams.

    Their kinds, a byte each; and bytes 8..96 of those that are in neither stream.
    """
    kinds = records.view(np.uint8).reshape(-1, AUDIT_BYTES)[:, _KIND_AT]
    chosen = _IN_NEITHER[kinds]
    rest = _hashed(records, chosen).tobytes() if chosen.any() else b""
    return kinds.tobytes(), rest


def _hashed(records: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Pick records and leave out what is not hashed of each; uint8[m, 88], contiguous."""
    picked = records.view(_WHOLE).reshape(-1)[chosen].view(np.uint8).reshape(-1, AUDIT_BYTES)
    return np.ascontiguousarray(picked[:, DIGEST_FROM:])
