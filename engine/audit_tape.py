"""Hold the chain's tape hashes against the tape: an edited tape does not verify."""

import hashlib
from pathlib import Path

from engine.errors import DataError
from engine.json_files import read_json
from engine.run_files import TAPE_REF, ChainLink, TapeRef
from engine.tape import Tape
from engine.tape_info import BLOCK_ROWS, TapeInfo, content_sha256, is_tape, read_info


def tape_folder(run_dir: Path, tape_dir: Path | None = None) -> Path:
    """Return where a run's tape lies: its own, or the one it refers to.

    Args:
        run_dir: the run's folder.
        tape_dir: where the tape lies now, if not where the run says.
    Raises:
        DataError: it is not there.
    """
    own = run_dir / "tape"
    if tape_dir is None and is_tape(own):
        return own
    folder = tape_dir or Path(read_json(run_dir / TAPE_REF, TapeRef).path)
    if not is_tape(folder):
        raise DataError(f"{folder}: the run's tape is not there; name it with --tape DIR")
    return folder


class TapeWitness:
    """Knows the tape of a run; answers '' or what is wrong."""

    def __init__(self, run_dir: Path, tape_dir: Path | None, *, enabled: bool = True) -> None:
        """Find the tape.

        Args:
            run_dir: the run's folder.
            tape_dir: where the tape lies now, if not where the run says.
            enabled: False leaves the tape alone, and says so in `note`.
        """
        self.note = "not checked, as asked"
        self._problem = ""
        self._folder: Path | None = None
        self._info = TapeInfo()
        self._prefix = hashlib.sha256()  # over the hashes of the first `_blocks` blocks
        self._blocks = 0
        if enabled:
            try:
                self._find(run_dir, tape_dir)
            except DataError as error:
                self._problem = str(error)

    def _find(self, run_dir: Path, tape_dir: Path | None) -> None:
        own = run_dir / "tape"
        ref = None if is_tape(own) else read_json(run_dir / TAPE_REF, TapeRef)
        folder = tape_folder(run_dir, tape_dir)
        info = read_info(folder)
        content = content_sha256(info.instruments, info.wakes, info.rows, info.block_sha256)
        if info.sha256 and content != info.sha256:
            raise DataError(
                f"{folder}: tape.json was changed, its sha256 is not that of its content"
            )
        if ref and ref.sha256 != info.sha256:
            raise DataError(
                f"{folder}: not the tape of this run ({info.sha256[:12]}, "
                f"it used {ref.sha256[:12]})"
            )
        self._folder, self._info = folder, info

    @property
    def content(self) -> str:
        """Identity of the tape's content, '' where the tape was not looked at."""
        return self._info.sha256

    def link(self, link: ChainLink) -> str:
        """Compare one link's tape hash with the tape's block hashes."""
        if self._folder is None or self._problem:
            return ""
        blocks = link.tape_row // BLOCK_ROWS
        if link.tape_row > self._info.rows or blocks > len(self._info.block_sha256):
            return (
                f"link {link.block} speaks of {link.tape_row:,} rows, tape has {self._info.rows:,}"
            )
        first = self._blocks
        for sha256 in self._info.block_sha256[first:blocks]:
            self._prefix.update(bytes.fromhex(sha256))
        self._blocks = blocks
        if self._prefix.hexdigest() == link.tape_sha256:
            return ""
        rows = f"rows {first * BLOCK_ROWS:,} to {blocks * BLOCK_ROWS - 1:,}" if blocks else "no row"
        return f"link {link.block}: the tape was changed in {rows}"

    def finish(self) -> str:
        """Hash the tape's rows; return what is wrong with the tape."""
        if self._problem or self._folder is None:
            return self._problem
        try:
            Tape.open(self._folder).verify()
        except DataError as error:
            return str(error)
        self.note = f"{self._info.rows:,} rows of {self._folder} match their hashes"
        return ""
