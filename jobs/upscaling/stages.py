"""The three stages of upscaling, each shared out over the executors: cut, upscale, put together."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pyspark import SparkContext

from jobs.runtime.errors import UnavailableError
from jobs.runtime.findings import Findings
from jobs.runtime.gpu import task_device
from jobs.runtime.pool import run_on_executors
from jobs.runtime.progress import Progress
from srgan.upscaling import worker
from srgan.upscaling.inputs import WORK_FOLDER
from srgan.upscaling.manifest import Manifest
from srgan.upscaling.pieces import Done, Entry, Piece, Work
from srgan.upscaling.worker import Outcome, Tools

LEAST_PIXELS = 512 * 512
"""As much as takes a core a few seconds, so that starting a task costs little."""


class Stages:
    """Upscales entries on the executors; what becomes of each goes to manifest and findings."""

    def __init__(
        self,
        context: SparkContext,
        tools: Tools,
        *,
        output: str,
        local_gpus: int,
        manifest: Manifest,
        findings: Findings,
    ) -> None:
        """Send the tools to the executors.

        Args:
            context: the session.
            tools: the model and how results are written.
            output: folder of the results.
            local_gpus: GPUs of this machine that tasks in local mode share.
            manifest: keeps what is done.
            findings: keeps what fails, is damaged or noted.
        """
        self._context = context
        self._tools = context.broadcast(tools)
        self._output = output
        self._local_gpus = local_gpus
        self._manifest = manifest
        self._findings = findings
        # An input pixel becomes so many output megapixels.
        self._growth = tools.output.network_scale**2 / 1e6

    def run(self, entries: Sequence[Entry]) -> tuple[list[Work], int]:
        """The works that are done, and how many entries have the content of before.

        Raises:
            UnavailableError: an error that is no file's fault, so that the next would fare no
                better.
            PartlyFailedError: the first failure is to end the job.
        """
        works, unchanged = self._cut(entries)
        for entry in entries:
            if entry.name in unchanged:
                self._manifest.unchanged(entry)
        self._manifest.begin([one.entry for one in works.values()])
        worker.remove_leftovers(self._output, [one.parts for one in works.values() if one.parts])
        self._upscale(works)
        self._put_together(works)
        failures = self._findings.failures
        return [one for name, one in works.items() if name not in failures], len(unchanged)

    def _cut(self, entries: Sequence[Entry]) -> tuple[dict[str, Work], set[str]]:
        # What runs on executors must not know the session, which `self` does.
        tools, work_folder = self._tools, f"{self._output}/{WORK_FOLDER}"
        works: dict[str, Work] = {}
        unchanged: set[str] = set()

        def on_outcome(outcome: Outcome) -> None:
            if self._has_failed(outcome):
                return
            if outcome.value is None:
                unchanged.add(outcome.name)
            else:
                works[outcome.name] = outcome.value
                self._findings.note(outcome.name, outcome.value.notes)

        run_on_executors(
            self._context,
            entries,
            lambda entry: worker.attempt(entry.name, worker.cut, entry, work_folder, tools.value),
            weigh=lambda entry: 1 + entry.size / 1e6,
            least_weight=50,
            on_outcome=on_outcome,
        )
        return works, unchanged

    def _upscale(self, works: dict[str, Work]) -> None:
        tools, local_gpus = self._tools, self._local_gpus
        pieces = [piece for one in works.values() for piece in one.pieces]
        total = self._growth * sum(one.pixels for one in works.values())
        progress = Progress(max(1, round(total)), "megapixels")
        begin = time.monotonic()
        done_pixels = done_pieces = 0

        def do(piece: Piece) -> tuple[int, Outcome]:
            name, sent = piece.entry.name, tools.value
            outcome = worker.attempt(name, lambda: worker.do(piece, sent, task_device(local_gpus)))
            return piece.pixels, outcome

        def on_outcome(found: tuple[int, Outcome]) -> None:
            nonlocal done_pixels, done_pieces
            pixels, outcome = found
            if not self._has_failed(outcome):
                self._note(works[outcome.name], outcome.value)
            done_pixels, done_pieces = done_pixels + pixels, done_pieces + 1
            megapixels = self._growth * done_pixels
            rate = megapixels / max(1e-9, time.monotonic() - begin)
            shown = f"{done_pieces}/{len(pieces)} pieces, {rate:.2f} megapixels/s"
            progress.update(round(megapixels), shown)

        run_on_executors(
            self._context,
            pieces,
            do,
            weigh=lambda piece: float(piece.pixels),
            least_weight=LEAST_PIXELS,
            on_outcome=on_outcome,
        )
        progress.close()

    def _put_together(self, works: dict[str, Work]) -> None:
        tools, failures = self._tools, self._findings.failures

        def on_outcome(outcome: Outcome) -> None:
            if not self._has_failed(outcome):
                self._note(works[outcome.name], outcome.value)

        run_on_executors(
            self._context,
            [one for one in works.values() if one.parts and one.entry.name not in failures],
            lambda one: worker.attempt(
                one.entry.name, worker.put_together, one, tools.value.output
            ),
            weigh=lambda one: float(one.pixels),
            least_weight=0,
            on_outcome=on_outcome,
        )

    def _note(self, work: Work, done: Done) -> None:
        name = work.entry.name
        self._findings.note(name, done.notes)
        if done.damage is not None:
            self._findings.damage(name, done.damage)
        if done.size is not None:
            self._manifest.finished(work.entry, done.size)

    def _has_failed(self, outcome: Outcome) -> bool:
        if outcome.error is None:
            return False
        if outcome.exit_code == UnavailableError.exit_code:
            raise UnavailableError(outcome.error)
        self._findings.fail(outcome.name, outcome.error)
        return True
