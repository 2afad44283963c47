"""One thread of torch, as in the sandbox: sums repeat to the bit, and two workers of pytest do not slow each other."""

import importlib.util

if importlib.util.find_spec("torch") is not None:
    import torch

    torch.set_num_threads(1)
