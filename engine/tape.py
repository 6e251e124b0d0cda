"""Read a tape: mapped segments of 64-byte rows. The tape is the ring; its writer is tape_writer.py."""

import mmap
from pathlib import Path

import numpy as np

from engine.errors import DataError
from engine.instruments import Instrument
from engine.rows import LAST, ROW, ROW_BYTES, Kind, row_checks
from engine.tape_info import (
    BLOCK_ROWS,
    HEADER_BYTES,
    WAKES,
    TapeInfo,
    checked_header,
    content_sha256,
    read_info,
    segment_paths,
)
from engine.tape_repair import bad_row, repair_tape
from engine.tape_verify import block_hashes, first_wrong_block
from engine.tape_writer import TapeWriter

__all__ = ["Segment", "Tape", "TapeInfo", "TapeWriter"]
