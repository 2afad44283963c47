"""The mixer interface: which classes are taken, what they are made and called with, and how refusals are said."""

import sys

import pytest

torch = pytest.importorskip("torch")

from asi_evolve import domains  # noqa: E402

FOLDER = f"{domains.__path__[0]}/linear_attention"
if FOLDER not in sys.path:
    sys.path.insert(0, FOLDER)

from skeleton import mixers  # noqa: E402
from torch import nn  # noqa: E402


class Plain(nn.Module):
    def __init__(self, hidden_size=1024, num_heads=4, layer_idx=None, **kwargs):
        super().__init__()
        self.told = (hidden_size, num_heads, layer_idx, kwargs)

    def forward(self, hidden_states, attention_mask=None, past_key_values=None, **kwargs):
        return 2 * hidden_states, None, past_key_values


def mixed(cls):
    return mixers.Mixed(cls, 8, 2, 3)


def forwarding(answer):
    return type("Forwarding", (Plain,), {"forward": lambda self, hidden_states, **kwargs: answer(hidden_states)})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("candidate_entry", "candidate_parts"):
        sys.modules.pop(name, None)


def load(folder, text):
    (folder / "candidate_entry.py").write_text("import torch\nfrom torch import nn\n" + text)
    return mixers.load(folder, "candidate_entry.py")


def test_a_class_deltanet_is_taken_and_mixer_goes_before_it(folder):
    cls = load(folder, "class DeltaNet(nn.Module): pass\nclass Better(nn.Module): pass\n")
    assert cls.__name__ == "DeltaNet"
    sys.modules.pop("candidate_entry")
    cls = load(folder, "class DeltaNet(nn.Module): pass\nclass Better(nn.Module): pass\nmixer = Better\n")
    assert cls.__name__ == "Better"


def test_files_beside_the_entry_are_imported(folder):
    (folder / "candidate_parts.py").write_text("from torch import nn\nclass Part(nn.Module): pass\n")
    assert load(folder, "from candidate_parts import Part\nclass DeltaNet(Part): pass\n").__name__ == "DeltaNet"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class Attention(nn.Module): pass", "its modules are Attention. Add `mixer = Attention`"),
        ("def DeltaNet(): pass", "it defines no torch.nn.Module. Define `class DeltaNet"),
    ],
)
def test_without_a_class_the_refusal_says_what_is_there(folder, text, words):
    with pytest.raises(mixers.Refused) as refused:
        load(folder, text)
    assert refused.value.check == "constructor" and words in refused.value.sentence


def test_a_neighbour_that_would_shadow_a_loaded_module_is_refused_by_name(folder):
    (folder / "json.py").write_text("")
    with pytest.raises(mixers.Refused, match=r"json\.py is named like a module that is loaded already"):
        load(folder, "class DeltaNet(nn.Module): pass")


def test_the_constructor_gets_width_heads_and_layer_and_keeps_its_own_defaults():
    assert mixed(Plain).mixer.told == (8, 2, 3, {})


def test_other_names_of_the_width_are_known():
    class Named(nn.Module):
        def __init__(self, d_model, n_heads, layer_id, mode, expand_k, **kwargs):
            super().__init__()
            self.told = (d_model, n_heads, layer_id, mode, expand_k, kwargs)

        def forward(self, x):
            return x

    assert mixed(Named).mixer.told == (8, 2, 3, "chunk", 1.0, {})


def test_a_width_that_is_none_by_default_is_not_given_twice():
    class Both(nn.Module):
        def __init__(self, mode="chunk", d_model=None, hidden_size=1024, num_heads=4, **kwargs):
            super().__init__()
            self.told = (d_model, hidden_size, num_heads, kwargs)

        def forward(self, x):
            return x

    # layer_idx has no parameter of its own here, so it comes among the others.
    assert mixed(Both).mixer.told == (None, 8, 2, {"layer_idx": 3})


def test_a_constructor_that_wants_something_unknown_is_refused():
    class Greedy(nn.Module):
        def __init__(self, hidden_size, rotations):
            super().__init__()

    with pytest.raises(mixers.Refused, match=r"it also needs rotations\. Give it a default"):
        mixed(Greedy)


def test_forward_with_required_arguments_of_the_interface_is_called_with_none():
    class Old(Plain):
        def forward(self, x, attention_mask, use_cache):
            return (x, attention_mask, use_cache)[0]

    assert mixed(Old)(torch.ones(1, 2, 8)).shape == (1, 2, 8)


def test_forward_that_wants_something_unknown_is_refused():
    class Positions(Plain):
        def forward(self, x, position_ids):
            return x

    with pytest.raises(mixers.Refused, match="it also needs position_ids") as refused:
        mixed(Positions)
    assert refused.value.check == "signature"


@pytest.mark.parametrize("answer", [lambda x: x, lambda x: (x,), lambda x: (x, None), lambda x: [x, None, None]])
def test_the_output_may_come_alone_or_with_what_flash_linear_attention_returns(answer):
    x = torch.randn(2, 5, 8)
    module = mixed(forwarding(answer))
    assert torch.equal(module(x), x) and module.auxiliary_loss is None


def test_a_scalar_beside_the_output_is_the_auxiliary_loss_and_attention_weights_are_not():
    x = torch.randn(2, 5, 8, requires_grad=True)
    module = mixed(forwarding(lambda x: (x, 0.5 * x.square().mean(), None)))
    module(x)
    torch.testing.assert_close(module.auxiliary_loss, 0.5 * x.square().mean())
    assert module.auxiliary_loss.requires_grad
    module = mixed(forwarding(lambda x: (x, 0.25)))
    module(x)
    assert module.auxiliary_loss.item() == 0.25
    module = mixed(forwarding(lambda x: (x, torch.ones(2, 2, 5, 5), None)))
    module(x)
    assert module.auxiliary_loss is None


def test_the_output_has_the_dtype_of_the_residual_path():
    assert mixed(forwarding(lambda x: x.bfloat16()))(torch.ones(1, 2, 8)).dtype == torch.float32


@pytest.mark.parametrize(
    ("answer", "check", "words"),
    [
        (lambda x: x[:, :-1], "shape", r"shape \(2, 5, 8\), that of hidden_states, but got \(2, 4, 8\)"),
        (lambda x: {"output": x}, "signature", "but got dict"),
        (lambda x: (None, x), "signature", "but got tuple of NoneType"),
        (lambda x: (), "signature", "but got an empty tuple"),
        (lambda x: x.long(), "shape", "floating-point numbers, but got torch.int64"),
    ],
)
def test_another_answer_is_refused(answer, check, words):
    with pytest.raises(mixers.Refused, match=words) as refused:
        mixed(forwarding(answer))(torch.ones(2, 5, 8))
    assert refused.value.check == check
