"""Process-wide settings: torch's CPU thread count, and how glibc's malloc treats freed memory."""

from __future__ import annotations

import ctypes
import platform

import torch

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # parameters of mallopt, from malloc.h
LARGEST_REUSED_BLOCK = 64 * 2**20  # bytes; larger blocks are rare and go back to the system


def set_threads_and_malloc(threads: int) -> None:
    """Set torch's number of CPU threads, and let glibc reuse freed memory.

    By default glibc takes each block above 128 KB from the system and returns it when it is freed;
    it raises that threshold only after a larger block has been freed. A layer's activations are
    larger than 128 KB, and their page faults can take a third of the time of the arithmetic of a
    gradient step. Both thresholds must be set, because setting one fixes the other at 128 KB. Other
    C libraries are left unchanged.
    """
    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_REUSED_BLOCK)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_TOP_PAD, LARGEST_REUSED_BLOCK)
