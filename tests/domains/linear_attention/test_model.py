"""The skeleton: causal by itself, the same for every mixer, and of one size whatever the mixer's."""

import sys

import pytest

torch = pytest.importorskip("torch")

from asi_evolve import domains  # noqa: E402

FOLDER = f"{domains.__path__[0]}/linear_attention"
if FOLDER not in sys.path:
    sys.path.insert(0, FOLDER)

from skeleton.mixers import Refused  # noqa: E402
from skeleton.model import SMALLEST_MLP, LanguageModel, matched_mlp_width, parameters_of  # noqa: E402
from torch import nn  # noqa: E402


class Wide(nn.Module):
    """A mixer of a chosen size, with an auxiliary loss."""

    def __init__(self, width, inner, loss=None):
        super().__init__()
        self.inward, self.outward = nn.Linear(width, inner, bias=False), nn.Linear(inner, width, bias=False)
        self.auxiliary_loss = loss

    def forward(self, x):
        return self.outward(self.inward(x))


def model(make=lambda width, heads, layer: nn.Identity(), **changed):
    torch.manual_seed(0)
    settings = {"vocabulary": 11, "width": 16, "layers": 2, "heads": 2, "mlp_width": 24, **changed}
    return LanguageModel(make=make, **settings)


def test_logits_have_a_place_for_every_token():
    logits = model()(torch.randint(11, (3, 7)))
    assert logits.shape == (3, 7, 11) and logits.dtype == torch.float32


def test_without_a_mixer_only_the_last_tokens_are_seen():
    skeleton = model().eval()
    tokens = torch.randint(11, (1, 20))
    changed = tokens.clone()
    changed[0, 10] = (changed[0, 10] + 1) % 11
    moved = (skeleton(tokens) - skeleton(changed)).abs().amax(-1)[0] > 1e-6
    # Two convolutions over four tokens reach six tokens back, and never forward.
    assert moved.nonzero().flatten().tolist() == list(range(10, 17))


def test_auxiliary_losses_of_all_layers_add_up():
    assert model().auxiliary_loss().item() == 0.0
    summed = model(lambda width, heads, layer: Wide(width, 4, torch.tensor(float(layer + 1)))).auxiliary_loss()
    assert summed.item() == 3.0


@pytest.mark.parametrize("inner", [0, 40, 128, 200])
def test_blocks_are_of_one_size(inner):
    width, mlp = 32, 64
    base = 2 * width * 128
    matched = matched_mlp_width(2 * width * inner, base, width, mlp)
    make = lambda width, heads, layer: Wide(width, inner) if inner else nn.Identity()  # noqa: E731
    block = model(make, width=width, mlp_width=matched).blocks[0]
    reference = model(lambda width, heads, layer: Wide(width, 128), width=width, mlp_width=mlp).blocks[0]
    assert parameters_of(block) == pytest.approx(parameters_of(reference), rel=0.1)


def test_a_mixer_of_about_the_size_of_the_baseline_leaves_the_mlp_alone():
    assert matched_mlp_width(1000, 1050, 32, 64) == 64
    assert matched_mlp_width(3000, 1050, 32, 64) != 64


def test_a_mixer_that_leaves_no_room_is_refused_with_what_would_fit():
    budget = 1000 + 3 * 32 * 64
    most = budget - 3 * 32 * SMALLEST_MLP
    assert matched_mlp_width(most, 1000, 32, 64) == SMALLEST_MLP
    with pytest.raises(Refused, match=f"at most {most:,} parameters at width 32, but got {most + 96:,}") as refused:
        matched_mlp_width(most + 96, 1000, 32, 64)
    assert refused.value.check == "parameters"


def test_unlike_parameters_are_counted_once_and_frozen_ones_not():
    linear = nn.Linear(3, 3)
    module = nn.ModuleList([linear, linear])
    assert parameters_of(module) == 12
    linear.bias.requires_grad_(False)
    assert parameters_of(module) == 9
