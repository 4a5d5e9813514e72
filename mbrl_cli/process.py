"""What a process is told before it computes: how many threads, and what to do with freed memory."""

from __future__ import annotations

import ctypes
import platform

import torch

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h
LARGEST_KEPT = 64 * 2**20  # bytes of a block that is not given back; larger ones are rare


def prepare(threads: int) -> None:
    """Give torch so many CPU threads, and let the C library keep what tensors free.

    By itself glibc takes blocks above 128 KB from the system and returns them when they are freed,
    until something still larger has been freed. A layer's activations are larger, and their page
    faults can take a third as long as the arithmetic of a gradient step. Both thresholds are
    needed: setting one alone fixes the other at 128 KB. Other C libraries are left as they are.
    """
    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_TOP_PAD, LARGEST_KEPT)
