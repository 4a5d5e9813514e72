"""Record an update of networks as a CUDA graph, and replay it."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

# Updates that run one operation at a time before a graph is recorded: they allocate buffers and
# select kernels.
WARM_UP_UPDATES = 3


class CudaGraphUpdate:
    """Run an update on a GPU as one CUDA graph instead of a thousand kernel launches.

    The update changes its tensors in place, reads no value on the CPU and draws no random number:
    these are among its inputs. Each call is one update, also those of the warm-up. On another
    device the update runs as it is.

    Args:
        update: maps tensors to a tensor.
        version: returns a value that changes when the update has other operations or reads other
            memory. A new graph is then recorded.
        device: of all tensors.
    """

    def __init__(
        self,
        update: Callable[..., Tensor],
        version: Callable[[], Hashable],
        device: torch.device,
    ) -> None:
        self._update = update
        self._version = version
        self._device = device
        self._warm_ups = 0  # of the version
        self._recorded: Hashable = None
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Update once; the next call overwrites the returned tensor."""
        if self._device.type != "cuda":
            return self._update(*inputs)
        version = self._version(), tuple(value.shape for value in inputs)
        if version != self._recorded:
            self._recorded, self._warm_ups, self._graph = version, 0, None
        if self._warm_ups < WARM_UP_UPDATES:
            self._warm_ups += 1
            return self._on_side_stream(inputs)
        if self._graph is None:
            self._inputs = [value.clone() for value in inputs]
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._output = self._update(*self._inputs)
        for own, value in zip(self._inputs, inputs, strict=True):
            own.copy_(value)
        self._graph.replay()
        return self._output

    def _on_side_stream(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Update once on another stream, as CUDA graphs require of a warm-up."""
        current = torch.cuda.current_stream(self._device)
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(current)
        with torch.cuda.stream(side):
            output = self._update(*inputs)
        current.wait_stream(side)
        return output
