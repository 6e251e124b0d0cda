"""The little of a terminal that the status uses: enough to see what a person would see."""

import re

_PIECE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)", re.DOTALL)


class SmallTerminal:
    """Rows of text and a cursor; anything it does not know is an error.

    Attributes:
        rows: what stands on it.
        styled: (text, codes) of every piece that was written in a style.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows = [""]
        self.styled: list[tuple[str, str]] = []
        self._row = self._column = 0
        self._style = ""

    def feed(self, text: str) -> None:
        """Take what a program wrote."""
        at = 0
        while at < len(text):
            found = _PIECE.match(text, at)
            assert found, f"unknown: {text[at : at + 10]!r}"
            at = found.end()
            numbers, letter, move, words = found.groups()
            if letter:
                self._control(numbers, letter)
            elif move == "\r":
                self._column = 0
            elif move == "\n":
                self._row += 1
                self.rows += [""] * (self._row + 1 - len(self.rows))
            else:
                self._write(words)

    def _write(self, words: str) -> None:
        if self._style:
            self.styled.append((words, self._style))
        row = self.rows[self._row].ljust(self._column)
        after = self._column + len(words)
        assert after <= self.width, f"a line of {after} columns"
        self.rows[self._row] = row[: self._column] + words + row[after:]
        self._column = after

    def _control(self, numbers: str, letter: str) -> None:
        if letter == "m":
            self._style = "" if numbers in ("", "0") else numbers
        elif letter == "A":
            self._row -= int(numbers)
            assert self._row >= 0, "above the first row"
        elif (numbers, letter) == ("2", "K"):
            self.rows[self._row] = ""
        elif letter == "J":
            if numbers == "2":
                self.rows = [""]
            else:
                del self.rows[self._row + 1 :]
                self.rows[self._row] = self.rows[self._row][: self._column]
        elif letter == "H":
            self._row = self._column = 0
        else:
            raise AssertionError(f"unknown control {numbers}{letter}")
