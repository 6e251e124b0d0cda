"""The progress bar of a replay or a conversion."""

import time

SHOW_EVERY_S = 0.1


class Bar:
    """The progress bar of a replay or conversion, on stderr."""

    def __init__(self, rows: int, what: str = "replay") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("eta"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
            refresh_per_second=10,
        )
        self._task = self._progress.add_task(what, total=rows or None, rate="")
        self._progress.start()
        self._started = time.perf_counter()
        self._shown = 0.0

    def update(self, done: int, total: int, now: int) -> None:
        """Show rows done, rows in all and market time."""
        clock = time.perf_counter()
        if clock - self._shown < SHOW_EVERY_S and done < total:
            return
        self._shown = clock
        rate = done / max(clock - self._started, 1e-9)
        market = time.strftime("%m-%d %H:%M:%S", time.gmtime(now / 1e9))
        self._progress.update(
            self._task, completed=done, total=total, rate=f"{rate / 1e6:.2f} M ev/s  {market}"
        )

    def convert(self, what: str, done: int, total: int) -> None:
        """Show how far a conversion is."""
        self._progress.update(
            self._task, description=what[-30:], completed=done, total=total or None
        )

    def close(self) -> None:
        """Take the bar away."""
        self._progress.stop()
