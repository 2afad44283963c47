"""Sequences of unlike lengths that lie end to end in one row (`cu_seqlens`), as a padded batch and back."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional


class Sequences:
    """cu_seqlens: (sequences + 1), where each sequence starts and the last one ends."""

    def __init__(self, cu_seqlens: Tensor, rows: int, length: int) -> None:
        ends = [int(x) for x in cu_seqlens.tolist()]
        if rows != 1:
            raise ValueError(
                f"The batch size is expected to be 1 rather than {rows} when using `cu_seqlens`. "
                "Please flatten variable-length inputs before processing."
            )
        lengths = [end - start for start, end in pairwise(ends)]
        if not lengths or ends[0] != 0 or ends[-1] != length or min(lengths) < 0:
            raise ValueError(
                f"Expected `cu_seqlens` to go up from 0 to the length {length}, but got {ends[:8]}. "
                "Give where each sequence starts and where the last one ends."
            )
        self.count, self.longest, self.total = len(lengths), max(lengths), length
        sizes = torch.tensor(lengths, device=cu_seqlens.device)
        self.row = torch.repeat_interleave(torch.arange(self.count, device=sizes.device), sizes)
        starts = torch.repeat_interleave(torch.tensor(ends[:-1], device=sizes.device), sizes)
        self.column = torch.arange(length, device=sizes.device) - starts

    def apart(self, x: Tensor) -> Tensor:
        """(1, total, ...) -> (sequences, longest, ...), zeros behind the end of each."""
        padded = x.new_zeros(self.count, self.longest, *x.shape[2:])
        return padded.index_put((self.row.to(x.device), self.column.to(x.device)), x[0])

    def together(self, x: Tensor) -> Tensor:
        """(sequences, longest, ...) -> (1, total, ...)."""
        return x[self.row.to(x.device), self.column.to(x.device)].unsqueeze(0)

    def backwards(self, x: Tensor) -> Tensor:
        """Each sequence of (1, total, ...) turned round in its place."""
        last = functional.pad(self.column[1:] == 0, (0, 1), value=True).nonzero().squeeze(-1)
        ends = last[torch.unique_consecutive(self.row, return_inverse=True)[1]]
        return x[:, (ends - self.column).to(x.device)]
