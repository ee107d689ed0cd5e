"""One call from first to last: open, read, run, write, and tell the times."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from modelport import __version__
from modelport.ais_bench.arguments import Arguments
from modelport.ais_bench.inputs import (
    Feed,
    FileBatch,
    FileFeed,
    Filled,
    OwnShapeFeed,
    PureFeed,
    files_per_batch,
    is_npy,
)
from modelport.ais_bench.log import Counter, Log
from modelport.ais_bench.opening import Chosen, Loaded, choose, loaded
from modelport.ais_bench.outputs import Writer, check_names, folder_name, place_for, split
from modelport.ais_bench.shape_ranges import run_each
from modelport.ais_bench.summary import Clocks, Interval, summarise, tell
from modelport.core.artifacts import write_json
from modelport.core.errors import ModelportError
from modelport.core.output_folder import held_results
from modelport.core.values import Array
from modelport.data.files.raw_values import doubts_of
from modelport.engines.row_check import check_rows
from modelport.engines.time_limit import limit_runs
from modelport.measure.timing import timed_run

READERS = 2


def run(arguments: Arguments, log: Log) -> None:
    """Do what the words ask. Raises ModelportError; results that were complete by then stay."""
    chosen = choose(arguments, log)
    if arguments.shape_range:
        run_each(arguments, lambda one: run_part(chosen, one, 0, None, log), log)
    elif len(arguments.devices) == 1:
        run_part(chosen, arguments, 0, None, log)
    else:
        _run_devices(arguments, log)


def run_part(chosen: Chosen, arguments: Arguments, part: int, name: str | None, log: Log) -> float:
    """Run on device number ``part`` of those asked for and return the throughput; ``name`` is a folder they share."""
    limit_runs(arguments.timeout)
    with loaded(chosen, arguments, part, log) as model, contextlib.ExitStack() as held:
        log.info(f"try get model batchsize:{model.batch}")
        feed = _feed(model, arguments, log)
        place = _place(model, arguments, part, name)
        if place is not None:
            held.enter_context(held_results(place, _summary_of(place)))
            log.info(f"output path:{place}")
        writer = None if place is None else Writer(place, arguments.outfmt)
        session = Session(model, arguments, feed, writer, log)
        try:
            session.run()
        except BaseException as error:
            _keep_partial(session, place, error)
            raise
        return _conclude(session, place)


def _feed(model: Loaded, arguments: Arguments, log: Log) -> Feed:
    if arguments.auto_shapes and model.lists:
        return OwnShapeFeed(model.specs, model.lists)
    if not model.lists:
        return PureFeed(model.specs, arguments.pure_data_type)
    each, files = files_per_batch(model.specs, model.lists, arguments.npy_as_bytes), model.lists[0]
    feed = FileFeed(model.specs, model.lists, each, arguments.npy_as_bytes)
    if arguments.npy_as_bytes and any(is_npy(file) for one in model.lists for file in one):
        log.note("--npy-as-bytes: .npy files are taken by their bytes, whatever their dtypes and shapes")
    log.info(f"files per input: {len(files)}, per batch: {each}, batches: {len(feed.batches())}")
    if last := len(files) % each:
        log.note(f"the last batch holds {last} of {each} files, filled up with {files[-last]}; that part is not saved")
    return feed


def _place(model: Loaded, arguments: Arguments, part: int, name: str | None) -> Path | None:
    if arguments.output is None:
        return None
    if model.lists:
        check_names(model.lists[0])
    device = None if name is None else f"device{arguments.devices[part]}_{part}"
    return place_for(arguments.output, name or folder_name(arguments.output, arguments.output_dirname), device)


def _summary_of(place: Path) -> Path:
    """Return where the summary of the results in a folder goes: beside it."""
    return place.parent / f"{place.name}_summary.json"


@dataclass(slots=True)
class Session:
    """Batches on their way through a model."""

    model: Loaded
    arguments: Arguments
    feed: Feed
    writer: Writer | None
    log: Log
    clocks: Clocks = field(default_factory=Clocks)
    done: int = 0  # batches
    origin: int = field(default_factory=time.perf_counter_ns)  # from which the summary's starts and ends count

    def run(self) -> None:
        """Warm up, run every batch and see the results written."""
        warm = self.feed.read(self.feed.batches()[0])
        if not isinstance(self.feed, PureFeed):
            for doubt in doubts_of(warm.inputs):
                self.log.warn(f"the first files, input {doubt}")
        for _ in range(self.arguments.warmup * self.arguments.threads):
            self._execute(warm)
        self.log.info(f"warm up {self.arguments.warmup} done")
        if self.model.batch > 1:
            check = check_rows(self.model.runner, self.model.batch)
            if check is not None and check.verdict != "pass":
                self.log.warn(check.why)
        counter = Counter(len(self.feed.batches()))
        try:
            for _ in self._overlapped() if self.arguments.pipeline else self._in_turn():
                self.done += 1
                counter.advance()
            if self.writer is not None:
                self.writer.close()
        finally:
            counter.close()

    def _in_turn(self) -> Iterator[None]:
        for batch in self.feed.batches():
            self._pass(batch, self.feed.read(batch))
            yield

    def _overlapped(self) -> Iterator[None]:
        """Read ahead in threads of their own, compute in ``threads`` threads; results are written aside anyway."""
        ahead = self.arguments.threads + READERS
        with (
            ThreadPoolExecutor(READERS, "reader") as readers,
            ThreadPoolExecutor(self.arguments.threads, "computer") as computers,
        ):
            pending: deque[Future[None]] = deque()

            def compute(batch: FileBatch, filled: Future[Filled]) -> None:
                self._pass(batch, filled.result())

            try:
                for batch in self.feed.batches():
                    pending.append(computers.submit(compute, batch, readers.submit(self.feed.read, batch)))
                    if len(pending) > ahead:
                        pending.popleft().result()
                        yield
                while pending:
                    pending.popleft().result()
                    yield
            finally:
                for future in pending:
                    future.cancel()

    def _pass(self, batch: FileBatch, filled: Filled) -> None:
        """Run one batch with its repeats, take the times down and hand the results over."""
        runs: list[Interval] = []
        copies: list[tuple[float, float]] = []
        for _ in range(self.arguments.loop):
            outputs, interval, copied = self._execute(filled)
            runs.append(interval)
            copies.append(copied)
        if self.arguments.auto_shapes:
            self.clocks.batchsizes.append(next(iter(filled.inputs.values())).shape[0])
        self.clocks.add(runs, copies[0][0], copies[-1][1])
        if filled.kept != 1:
            rows = f"{filled.kept.numerator}/{filled.kept.denominator}"
            self.log.note(f"{batch.files[0][-1]} holds {rows} of a file's rows, filled up; that part is not saved")
        if not all(np.isfinite(array).all() for array in outputs if array.dtype.kind == "f"):
            self.log.note(f"{batch.files[0][0] or 'the output'}: holds NaN or infinity")
        if self.writer is not None:
            share = self.feed.per_batch if isinstance(self.feed, FileFeed) else 1
            parts = split(outputs, share, self.arguments.axis, filled.kept, len(batch.files[0]))
            self.writer.save(batch, parts)

    def _execute(self, filled: Filled) -> tuple[list[Array], Interval, tuple[float, float]]:
        """Run once; return the outputs in order, start and end of the computing, and the two copies, in ms."""
        ran = timed_run(self.model.runner, filled.inputs)
        interval = ran.computing_ms(self.origin)
        self.log.debug(f"model aclExec cost : {interval[1] - interval[0]:f}")
        outputs = [ran.outputs[spec.name] for spec in self.model.runner.signature.outputs]
        return outputs, interval, (ran.device.h2d_ms, ran.device.d2h_ms) if ran.device else (0.0, 0.0)


def _conclude(session: Session, place: Path | None, broken: BaseException | None = None) -> float:
    """Tell the figures, write the summary and return the throughput."""
    arguments, log, clocks = session.arguments, session.log, session.clocks
    own = clocks.batchsizes
    batchsize = sum(own) / len(own) if own else arguments.batchsize or session.model.batch
    figures = summarise(clocks, batchsize, overlapped=arguments.threads > 1)
    if broken is None:
        tell(log, figures, batchsize, arguments.display_all_summary)
    if place is not None:
        written = session.writer.written if session.writer is not None else {}
        filesinfo = {str(number): written[number] for number in sorted(written)}
        ours = {"modelport": _ours(session, broken)}
        write_json(
            _summary_of(place), {"filesinfo": filesinfo, "args": [sys.argv[0], *arguments.words], **figures, **ours}
        )
    return float(figures["throughput"])


def _ours(session: Session, broken: BaseException | None) -> dict[str, Any]:
    """Return what modelport adds to the summary."""
    chosen = session.model.chosen
    return {
        "version": __version__,
        "engine": chosen.engine.name,
        "engine_version": chosen.version,
        "precision": session.model.runner.precision,
        "model": chosen.model.to_json(),
        "batch": session.model.batch,
        "partial": broken is not None,
        "warnings": session.log.warnings,
        "notes": [*session.log.notes, *([] if broken is None else [f"stopped: {broken or type(broken).__name__}"])],
    }


def _keep_partial(session: Session, place: Path | None, error: BaseException) -> None:
    """Let what is complete be written, and say that it is not all."""
    if session.writer is None or place is None:
        return
    with contextlib.suppress(ModelportError):
        session.writer.close()
    if not session.writer.written:
        if session.arguments.output_dirname is None:
            with contextlib.suppress(OSError):
                place.rmdir()
        return
    of = f"{session.done} of {len(session.feed.batches())} batches"
    session.log.warn(f"stopped after {of}: the results so far are kept in {place}, {_summary_of(place)} says partial")
    with contextlib.suppress(ModelportError):
        _conclude(session, place, error)


def _run_devices(arguments: Arguments, log: Log) -> None:
    """Run a process per device, each with a folder of its own. Raises the first error once all have ended."""
    name = None if arguments.output is None else folder_name(arguments.output, arguments.output_dirname)
    count = len(arguments.devices)
    with get_context("spawn").Pool(count) as pool:
        jobs = [pool.apply_async(_run_alone, (arguments, part, name)) for part in range(count)]
        results = [_result(job) for job in jobs]
    rates = []
    for part, result in enumerate(results):
        if isinstance(result, float):
            log.info(f"i:{part} device_{arguments.devices[part]} throughput:{result}")
            rates.append(result)
    for result in results:
        if isinstance(result, ModelportError):
            raise result
    log.info(f"summary throughput:{sum(rates)}")


def _result(job: Any) -> float | ModelportError:
    try:
        return float(job.get())
    except ModelportError as error:
        return error


def _run_alone(arguments: Arguments, part: int, name: str | None) -> float:
    log = Log(arguments.debug)
    return run_part(choose(arguments, log), arguments, part, name, log)
