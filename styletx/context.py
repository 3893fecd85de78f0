"""What torch is set to while styletx computes, whatever a program around it has set."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TypeVar

import torch

T = TypeVar("T")

_lock = threading.Lock()
_inside = 0  # how many threads compute
_callers = torch.float32  # default dtype of the program around
_has_computed = False


@contextlib.contextmanager
def own() -> Iterator[None]:
    """Compute with gradients possible, in float32, on the CPU unless a device is named, and without autocast.

    The program's own settings are back afterwards: what calls back into it, such as a generator's `yield`, must not be
    inside. The default dtype belongs to all threads, so that others see float32 meanwhile.
    """
    global _has_computed
    _has_computed = True
    with contextlib.ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(_float32())
        yield


def each(values: Iterator[T]) -> Iterator[T]:
    """Values of an iterator, each of which is made in our `own` context."""
    try:
        while True:
            with own():
                try:
                    value = next(values)
                except StopIteration:
                    return
            yield value
    finally:
        if close := getattr(values, "close", None):
            close()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread of the CPU: sums are in one order then, however many threads there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _float32() -> Iterator[None]:
    global _inside, _callers
    with _lock:
        if not _inside:
            _callers = torch.get_default_dtype()
            if _callers != torch.float32:
                torch.set_default_dtype(torch.float32)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _callers != torch.float32:
                torch.set_default_dtype(_callers)


def _after_fork() -> None:
    global _lock, _inside
    # The threads that computed are not there in a child, and torch would wait for them for ever.
    if _has_computed and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
    if _inside:
        torch.set_default_dtype(_callers)
    _lock, _inside = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
