"""Check the records of an event file by their checksums, as TensorBoard's reader does.

A record is its length (8 bytes, little endian), the checksum of the length (4), the data, and the
checksum of the data (4). The checksum is CRC-32C (RFC 3720, appendix B.4), rotated and shifted by a
constant as in TensorFlow's `record_writer.cc`. The reader stops at the first record whose checksum
is wrong.
"""

from __future__ import annotations

import numpy as np

LENGTH, CHECKSUM = 8, 4  # bytes
POLYNOMIAL = np.uint32(0x82F63B78)  # of Castagnoli, bits reversed
MASK_DELTA = np.uint32(0xA282EAD8)


def records_are_intact(content: bytes, position: int) -> bool:
    """Return whether the first `position` bytes are whole records with correct checksums."""
    data = np.frombuffer(content, np.uint8)
    starts, lengths, start = [], [], 0
    while start < position:
        if start + LENGTH + CHECKSUM > position:
            return False
        length = int.from_bytes(content[start : start + LENGTH], "little")
        starts.append(start)
        lengths.append(length)
        start += LENGTH + 2 * CHECKSUM + length
    if start != position:
        return False
    at, size = np.asarray(starts, np.int64), np.asarray(lengths, np.int64)
    length_fits = _stored(data, at + LENGTH) == _masked_crc(data, at, np.full_like(size, LENGTH))
    first = at + LENGTH + CHECKSUM
    data_fits = _stored(data, first + size) == _masked_crc(data, first, size)
    return bool(length_fits.all() and data_fits.all())


def _stored(data: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the checksums [n] that are stored at the positions `at` [n]."""
    four = data[at[:, None] + np.arange(CHECKSUM)]  # [n, 4]
    checksums: np.ndarray = np.ascontiguousarray(four).view("<u4")[:, 0]
    return checksums


def _masked_crc(data: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return the masked CRC-32C [n] of the n ranges of bytes from `start` [n] on.

    One byte of all ranges is processed at once, because most records are short and there are many.
    """
    order = np.argsort(-length, kind="stable")  # the ranges that still have bytes come first
    start, length = start[order], length[order]
    remaining = np.searchsorted(-length, -np.arange(length.max(initial=0)), side="left")
    crc = np.full(len(start), 0xFFFFFFFF, np.uint32)
    for i, count in enumerate(remaining):  # `count` ranges have more than i bytes
        byte = data[start[:count] + i]
        crc[:count] = (crc[:count] >> np.uint32(8)) ^ _TABLE[(crc[:count] & 0xFF) ^ byte]
    crc = ~crc
    masked = ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + MASK_DELTA
    in_order = np.empty_like(masked)
    in_order[order] = masked
    return in_order


def _table() -> np.ndarray:
    """Return the CRC of each byte, [256]."""
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = (crc >> np.uint32(1)) ^ np.where(crc & 1, POLYNOMIAL, np.uint32(0))
    return crc


_TABLE = _table()
