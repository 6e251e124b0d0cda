"""Hash the rows of a tape in blocks of 65,536, as they come."""

import hashlib

import numpy as np

from engine.tape_info import BLOCK_ROWS


class BlockHashes:
    """sha256 of each block; rows are added in order, in any grouping."""

    def __init__(self) -> None:
        """Start before the first row."""
        self.blocks: list[str] = []  # of the complete blocks, hex
        self.rows = 0
        self._digest = hashlib.sha256()

    def add(self, rows: np.ndarray) -> None:
        """Take the next rows, ROW[n], contiguous."""
        start = 0
        while start < len(rows):
            part = rows[start : start + BLOCK_ROWS - self.rows % BLOCK_ROWS]
            self._digest.update(part.view(np.uint8).data)
            self.rows += len(part)
            start += len(part)
            if self.rows % BLOCK_ROWS == 0:
                self.blocks.append(self._digest.hexdigest())
                self._digest = hashlib.sha256()

    def all_blocks(self) -> list[str]:
        """Return the hashes with that of the last, partial block.

        >>> BlockHashes().all_blocks()
        []
        """
        rest = [self._digest.hexdigest()] if self.rows % BLOCK_ROWS else []
        return self.blocks + rest


def tape_hash(block_sha256: tuple[str, ...] | list[str]) -> str:
    """Return the hex sha256 over the concatenated block hashes (as bytes).

    >>> tape_hash([])[:16]
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(b"".join(bytes.fromhex(value) for value in block_sha256)).hexdigest()
