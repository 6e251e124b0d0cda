"""Hashes as records hold them: four words of a sha256, the first word of a text's."""

import hashlib
import struct


def hash_words(sha256: str) -> tuple[int, int, int, int]:
    """Split a hex sha256 into four int64, little-endian, as RUN and MODEL records hold it.

    >>> hash_words("01" + "00" * 31)
    (1, 0, 0, 0)
    """
    a, b, c, d = struct.unpack("<4q", bytes.fromhex(sha256 or "00" * 32))
    return a, b, c, d


def words_hash(words: tuple[int, ...] | list[int]) -> str:
    """Join what hash_words split.

    >>> words_hash(hash_words("ab" * 32)) == "ab" * 32
    True
    """
    return struct.pack("<4q", *words[:4]).hex()


def text_word(text: str) -> int:
    """Return the first int64 of a text's sha256: slot i3 of EVENT records, so that words count too.

    >>> text_word("gap of 3 s")
    139523151890435984
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little", signed=True)
