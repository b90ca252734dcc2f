"""The programs of a task whose images are read on the host, batch by batch, while it trains.

They stand where those of `flaxdrop.training.cells` do, whose images are on the device.
"""

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from flaxdrop.data.file_images import FileImages
from flaxdrop.data.order import HostOrder
from flaxdrop.data.stream import Batch, TestBatches, TrainingBatches, stream
from flaxdrop.hashing import key_to_words
from flaxdrop.training import steps
from flaxdrop.training.cells import Programs
from flaxdrop.training.environment import compiler_options, cores
from flaxdrop.training.task import Cell, Images, State, Task
from flaxdrop.training.tracing import make_mesh, on_every_device, one_of, stack, trace_streamed


def is_streamed(images: Images) -> bool:
    """Whether the images are read while a network trains."""
    return isinstance(images.x_train, FileImages)


def compile_streamed_programs(
    task: Task,
    images: Images,
    example: Cell,
    devices: Sequence[jax.Device],
    cells_per_device: int = 1,
    devices_per_cell: int = 1,
    workers: int = 0,
) -> Programs:
    """Compiles what a task needs, once, as `compile_programs` does.

    Args:
      task: what is trained.
      images: the data set, of `FileImages`.
      example: any cell of the task.
      devices: the cells train on them.
      cells_per_device: how many train on each at a time.
      devices_per_cell: how many devices the batch of a cell is split over.
      workers: processes that read the images of each seed; 0: threads of this one do.
    """
    began = time.perf_counter()
    mesh = make_mesh(devices, devices_per_cell)
    on_device = _without_images(images)
    traced = trace_streamed(task, on_device, example, mesh, cells_per_device)
    data = on_every_device(mesh, on_device)
    wide = compiler_options(devices[0])
    compilers = ThreadPoolExecutor()
    training = compilers.submit(traced.train.lower().compile, wide)
    start: Any = traced.start.lower().compile()
    step: Any = training.result()
    feed = _Feed(task, images, workers)

    def train(count: int, cells: Cell, states: State) -> State:
        batches = feed.batches(cells, int(states.step[0]))
        for _ in range(count):
            x, y = jax.device_put(next(batches), traced.one_each)
            states, done = step(data, cells, states, x, y)
            feed.watch(done)
        return states

    @functools.cache
    def evaluating() -> Future[tuple[Any, ...]]:
        return compilers.submit(
            lambda: tuple(program.lower().compile(wide) for program in traced.evaluate())
        )

    def evaluate(states: State) -> State:
        begin, add, close = evaluating().result()
        sums = begin(states)
        for arrays in feed.test_batches():
            sums = add(data, *on_every_device(mesh, arrays), states, sums)
        return close(states, sums)

    return Programs(
        start=lambda cells: start(data, cells),
        train=train,
        compile_evaluation=evaluating,
        evaluate=evaluate,
        temporary_bytes=step.memory_analysis().temp_size_in_bytes,
        cells_in_parallel=traced.cells_in_parallel,
        like=one_of(traced.states),
        place=jax.jit(stack, out_shardings=traced.one_each),
        compile_seconds=time.perf_counter() - began,
        training_text=step.as_text,
        waited_seconds=lambda: feed.waited,
    )


def _without_images(images: Images) -> Images:
    """What the device keeps: one black image of their shape, the test labels, mean and std."""
    black = np.zeros((1, *images.x_train.shape[1:]), np.uint8)
    return images.replace(x_train=black, y_train=images.y_train[:1], x_test=black)


class _Feed:
    """Reads the batches of the cells that train together; those of one seed are read once.

    Attributes:
      waited: seconds that the devices had nothing to do, because no batch was ready.
    """

    def __init__(self, task: Task, images: Images, workers: int) -> None:
        self._task, self._images, self._workers = task, images, workers
        self._cells: Cell | None = None
        self._next = 0
        self._batches: Iterator[Batch] = iter(())
        self._watcher = ThreadPoolExecutor(1)
        self._idle: Future[float] | None = None
        self.waited = 0.0

    def batches(self, cells: Cell, step: int) -> Iterator[Batch]:
        """The batches of cells from a step on: those that are read ahead, if it goes on there.

        Raises:
          OSError: when it is asked for a batch whose images cannot be read.
        """
        if self._cells is not cells or self._next != step:
            self._cells, self._next = cells, step
            self._batches = self._read(cells, step)
        return self

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        began = time.perf_counter()
        with _as_os_error():
            batch = next(self._batches)
        ended = time.perf_counter()
        if self._idle is None:
            self.waited += ended - began
        elif self._idle.done():
            self.waited += max(0.0, ended - max(began, self._idle.result()))
        self._next += 1
        return batch

    def watch(self, done: jax.Array) -> None:
        """Notes when the devices have done a step."""
        self._idle = self._watcher.submit(
            lambda: (jax.block_until_ready(done), time.perf_counter())[1]
        )

    def test_batches(self) -> Iterator[tuple[Any, ...]]:
        """Of each batch of the test: the place of its first example, x, y and which are real."""
        labels = np.asarray(self._images.y_test)
        batches, batch = steps.evaluation_batches(len(labels))
        test = TestBatches(self._images.x_test, labels, batch)
        with _as_os_error():
            for number, (x, y) in enumerate(stream(test, 0, batches, len(cores()))):
                first = number * batch
                yield np.int32(first), x, y, first + np.arange(batch) < len(labels)

    def _read(self, cells: Cell, step: int) -> Iterator[Batch]:
        keys = np.asarray(jax.random.key_data(cells.key))
        subsets = None if cells.subset is None else np.asarray(cells.subset)
        streams: dict[bytes, Iterator[Batch]] = {}
        lanes = []
        for lane, key in enumerate(keys):
            subset = None if subsets is None else subsets[lane]
            name = key.tobytes() + (b"" if subset is None else subset.tobytes())
            lanes.append(name)
            if name not in streams:
                batches = self._batches_of(jax.random.wrap_key_data(key), subset)
                threads = max(1, len(cores()) // len(keys))
                streams[name] = stream(batches, step, self._task.steps, threads, self._workers)
        while True:
            found = {name: next(batches) for name, batches in streams.items()}
            every = [found[name] for name in lanes]
            yield np.stack([x for x, _ in every]), np.stack([y for _, y in every])

    def _batches_of(self, key: jax.Array, subset: np.ndarray | None) -> TrainingBatches:
        task = self._task
        order = jax.random.fold_in(key, steps.ORDER)
        words = key_to_words(jax.random.fold_in(key, steps.AUGMENT))
        return TrainingBatches(
            images=self._images.x_train,
            labels=np.asarray(self._images.y_train),
            subset=subset,
            order=HostOrder(order, task.recipe.epochs, task.examples),
            words=tuple(map(int, words)),
            batch=task.recipe.batch,
            steps_per_epoch=task.steps_per_epoch,
        )


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    """What goes wrong while an image is read, in a thread or in another process, in its words."""
    try:
        yield
    except StopIteration:
        raise
    except Exception as error:
        words = str(error).strip().splitlines() or [repr(error)]
        raise OSError(words[-1].removeprefix("ValueError: ")) from error
