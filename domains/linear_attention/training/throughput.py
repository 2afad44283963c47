"""How much of a GPU a training uses: FLOPs per token by counting, peaks by the device's name, never by a guess.

Model FLOPs utilisation (arXiv 2204.02311, appendix B): the FLOPs that the model's mathematics takes, over what the
device could do at best. Recomputation does not count, and a faster kernel raises it. Here a token takes

    6 N                 N parameters that are multiplied with it: twice forward, four times backward
  + 3 (F - 2 N_mixer)   F FLOPs that one forward pass of all mixers was counted to take per token: the rest of it is the
                        state, and backward costs twice as much as forward

F comes from PyTorch's FlopCounterMode, which sees matrix products of PyTorch and nothing inside a Triton kernel. So
count on the CPU with the stand-in layer; with flash-linear-attention's kernels the second term is 0, and the figure a
lower bound.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

PEAK_TFLOPS: dict[str, float] = {
    "NVIDIA H200": 989.4,
    "NVIDIA H200 NVL": 835.0,
    "NVIDIA H100 80GB HBM3": 989.4,
    "NVIDIA H100 NVL": 835.0,
    "NVIDIA H100 PCIe": 756.0,
    "NVIDIA A100-SXM4-40GB": 312.0,
    "NVIDIA A100-SXM4-80GB": 312.0,
    "NVIDIA A100-PCIE-40GB": 312.0,
    "NVIDIA A100 80GB PCIe": 312.0,
    "NVIDIA L40S": 362.0,
    "NVIDIA L4": 121.0,
    "NVIDIA GeForce RTX 4090": 165.2,
}
"""Dense bfloat16 with float32 accumulation, from NVIDIA's data sheets (half of the figures with sparsity), by the whole
name that torch.cuda.get_device_name gives. A device that is not here has no utilisation."""


def state_flops_per_token(mixers: Sequence[nn.Module], width: int, length: int) -> float:
    """FLOPs per token that the forward passes of these mixers take beyond their parameters (F - 2 N_mixer above).

    Counted on one window (1, length, width) on the device and in the dtype that the mixers are in; never below 0.
    """
    total = 0.0
    for mixer in mixers:
        parameter = next(mixer.parameters(), torch.zeros(()))
        window = torch.zeros(1, length, width, device=parameter.device, dtype=parameter.dtype)
        with torch.no_grad(), FlopCounterMode(display=False) as counted:
            mixer(window)
        multiplied = sum(weight.numel() for weight in mixer.parameters())
        total += max(0.0, counted.get_total_flops() / length - 2 * multiplied)
    return total


def flops_per_token(parameters: int, looked_up: int, state_flops: float) -> float:
    """Model FLOPs of training on one token.

    `parameters`: all of the model; `looked_up`: those of them in embeddings, which are read and not multiplied;
    `state_flops`: of all mixers, from `state_flops_per_token`.
    """
    return 6.0 * (parameters - looked_up) + 3.0 * state_flops


def peak_flops(device_name: str, precision: str, devices: int = 1) -> float | None:
    """What devices could do per second at best; None for one that is not in the table, or without bf16."""
    peak = PEAK_TFLOPS.get(device_name)
    return None if peak is None or precision != "bf16" else peak * 1e12 * devices


def utilisation(tokens_per_second: float | None, flops: float, peak: float | None) -> float | None:
    """Model FLOPs utilisation, between 0 and 1; None where a part of it is not known."""
    if tokens_per_second is None or peak is None:
        return None
    return tokens_per_second * flops / peak
