"""Stages of a stream in threads of their own, joined by short queues.

The C libraries that hash, decrypt and decompress let go of the interpreter while they work, so the stages overlap.
A failure in any stage ends them all: a reader sees the writer's error, a writer learns that nobody reads any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

ROOM = 8  # chunks that may wait between two stages


class Closed(Exception):
    """Nobody reads the channel any more."""


class Channel:
    """A queue of chunks from one thread to another that ends, with or without an error, or is given up."""

    def __init__(self, room: int = ROOM) -> None:
        self._room, self._waiting = room, []  # type: tuple[int, list[bytes]]
        self._ended = self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, chunk: bytes) -> None:
        """Hand a chunk over; waits while the queue is full. Raises Closed when the reader has gone."""
        with self._changed:
            while len(self._waiting) >= self._room and not self._closed:
                self._changed.wait()
            if self._closed:
                raise Closed
            self._waiting.append(chunk)
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """Say that no more will come. error: why, raised in the reader."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """Stop reading: the writer's next `put` raises Closed."""
        with self._changed:
            self._closed = self._ended = True
            self._waiting.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks until the end. Raises the writer's error."""
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait()
                if not self._waiting:
                    break
                chunk = self._waiting.pop(0)
                self._changed.notify_all()
            yield chunk
        if self._error:
            raise self._error


class Tee:
    """One thread that makes chunks, and a thread for each of some consumers which see all of them.

    Use as a context: iterate over it for the chunks in the caller's thread. When the block ends well the consumers
    have seen everything; when it raises, all threads have ended.
    """

    def __init__(self, chunks: Iterable[bytes], consumers: Sequence[Callable[[bytes], object]]) -> None:
        self._out = Channel()
        self._inner = [Channel() for _ in consumers]
        targets = [lambda: self._produce(chunks)]
        targets += [
            lambda channel=channel, consume=consume: self._consume(channel, consume)  # type: ignore[misc]
            for channel, consume in zip(self._inner, consumers, strict=True)
        ]
        self._failure: BaseException | None = None
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]

    def _produce(self, chunks: Iterable[bytes]) -> None:
        everybody = [*self._inner, self._out]
        failure: BaseException | None = None  # the reader's to raise; to consumers it is just the end
        try:
            for chunk in chunks:
                for channel in everybody:
                    channel.put(chunk)
        except Closed:
            pass
        except BaseException as error:
            failure = error
        for channel in self._inner:
            channel.end()
        self._out.end(failure)

    def _consume(self, channel: Channel, consume: Callable[[bytes], object]) -> None:
        try:
            for chunk in channel:
                consume(chunk)
        except BaseException as error:
            self._failure = error
        finally:
            channel.close()

    def __enter__(self) -> Iterator[bytes]:
        for thread in self._threads:
            thread.start()
        return iter(self._out)

    def __exit__(self, kind: type[BaseException] | None, _error: BaseException | None, _trace: object) -> None:
        if kind:
            for channel in (*self._inner, self._out):
                channel.close()
        for thread in self._threads:
            thread.join()
        if self._failure:  # the cause, also when all that the block saw was an early end
            raise self._failure
