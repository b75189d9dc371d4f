"""A sweep on the screen: one line that stays and a bar for each running job, or plain lines."""

import logging
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from handwriting.launching.progress import Progress
from handwriting.tracking.signals import signals_held

if TYPE_CHECKING:  # 0.1 s to import, and only a sweep on a terminal needs it
    from rich.console import Console, RenderableType

log = logging.getLogger(__name__)

BETWEEN = 0.1  # s, between two drawings at the least
MARGIN = 5  # columns that stay free: a terminal writes ^C there, and must not begin a new line for it
ABOVE_AND_BELOW = 3  # lines beside the bars: the sweep's, that of the bars that have no room, the cursor's
BESIDE = 70  # columns beside a job's label, where all that a bar can say has room


class Lines:
    """Says how far a sweep is in a line as jobs end: for a file, a pipe, a terminal without a cursor."""

    pipes = False  # its workers print where this process does
    wakes: float | None = None  # s after which it is to be drawn again

    def __init__(self, progress: Progress, far: bool = False):
        self.progress, self.far = progress, far
        self.told = 0  # jobs that had ended when it last said so

    def start(self) -> None:
        """Nothing: there is no line that stays."""

    def stop(self) -> None:
        """Say what was not said yet."""
        self.draw()

    def draw(self) -> None:
        """Say how far the sweep is, where jobs have ended since it was said."""
        if self.progress.ended > self.told:
            log.info(str(self.progress))
            self.told = self.progress.ended

    def say(self, lines: Sequence[str]) -> None:
        """Print lines, where those who said them are on other machines; else they are seen already."""
        if self.far:
            sys.stderr.writelines(f"{line}\n" for line in lines)


class Bars(Lines):
    """Keeps one line and a bar for each running job at the bottom of a terminal, and all else above them.

    Drawn by the thread that waits for the jobs: a thread of its own could be in the middle of a line when
    the process is told to end.
    """

    pipes = True
    wakes = 1.0

    def __init__(self, progress: Progress, console: "Console"):
        from rich.live import Live

        super().__init__(progress)
        self.console = console
        self.drawn = 0.0
        self.streams: list[tuple[logging.StreamHandler, object]] = []
        self.live = Live(console=console, auto_refresh=False, transient=True, get_renderable=self._picture)

    @signals_held()
    def start(self) -> None:
        """Begin to draw, and let what this process prints stand above it."""
        stream = sys.stderr
        self.live.start()  # which puts another stream in the place of sys.stderr
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                self.streams.append((handler, handler.setStream(sys.stderr)))

    @signals_held()
    def stop(self) -> None:
        """Take line and bars away, and show the cursor again."""
        for handler, stream in self.streams:
            handler.setStream(stream)
        self.live.stop()

    @signals_held()
    def draw(self) -> None:
        """Draw the line and the bars as they are now."""
        now = time.monotonic()
        if now - self.drawn >= BETWEEN:
            self.live.refresh()
            self.drawn = now

    @signals_held()
    def say(self, lines: Sequence[str]) -> None:
        """Print lines above the bars."""
        for line in lines:
            self.console.out(line, highlight=False)

    def _picture(self) -> "RenderableType":
        from rich.console import Group
        from rich.constrain import Constrain
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        # No more than there is room for: each takes 0.3 ms to draw, ten times a second.
        running = list(self.progress.running.values())[: self.console.height - ABOVE_AND_BELOW]
        more = len(self.progress.running) - len(running)
        longest = max((len(job.label) for job in running), default=0)
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column()  # the only one that may become narrower
        for _ in range(4 if self.console.width >= longest + BESIDE else 3):
            grid.add_column(no_wrap=True)
        for job in running:
            row: list[RenderableType] = [
                Text(f"  {job.label}", no_wrap=True, overflow="ellipsis"),
                Text(f"seed {job.seed}" if job.seed else ""),
                ProgressBar(total=job.all or 1, completed=job.done, width=16),
                Text(f"{job.done}/{job.all}" if job.newest else "no epoch yet"),
                Text(f"val_accuracy {job.newest.val_accuracy:.4f}" if job.newest else ""),
            ]
            grid.add_row(*row[: len(grid.columns)])
        below = [Text(f"  and {more} more")] if more else []
        return Constrain(Group(Text(str(self.progress)), grid, *below), self.console.width - MARGIN)


def screen_of(progress: Progress, far: bool = False) -> Lines:
    """Return how a sweep is shown on standard error; `far` where its workers print elsewhere."""
    if not sys.stderr.isatty():
        return Lines(progress, far)
    from rich.console import Console

    console = Console(file=sys.stderr)
    return Bars(progress, console) if console.is_interactive else Lines(progress, far)
