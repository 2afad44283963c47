"""`asi-evolve export n42 --for verl`: what is written, and what verl makes of it where it is installed."""

import json
import os
import re
import subprocess
import sys

import pytest
from asi_evolve.domains.loader import load_domain
from asi_evolve.evolution.errors import BadInput
from asi_evolve.server import export_for

from .boundary_lab import FOLDER

BASELINE = (FOLDER / "baseline" / "algorithm.py").read_text(encoding="utf-8")
TEMPLATES = export_for._templates(load_domain(FOLDER), "verl")


def write(folder, program, node="n42"):
    """The three files of an export."""
    folder.mkdir()
    for name, template in TEMPLATES.items():
        (folder / name.replace("NODE", node)).write_text(export_for._filled(template, node, program))
    return folder


def python(folder, *arguments, **environment):
    """A program in the export's folder."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_program_stands_in_the_module_as_it_was_and_no_mark_of_the_template_is_left(tmp_path):
    folder = write(tmp_path / "out", BASELINE)
    assert BASELINE in (folder / "evolved_n42.py").read_text()
    for path in folder.iterdir():
        assert not re.search(r"NODE(?![A-Z])|# PROGRAM", path.read_text()), path
    assert "verl.trainer.main_ppo" in (folder / "run.sh").read_text()
    assert subprocess.run(["bash", "-n", folder / "run.sh"]).returncode == 0


def test_the_module_tries_itself_without_verl(tmp_path):
    pytest.importorskip("torch")
    ended = python(write(tmp_path / "out", BASELINE), "evolved_n42.py")
    assert ended.returncode == 0, ended.stderr
    assert "Both functions of evolved_n42 run" in ended.stdout


DATACLASS = """from __future__ import annotations

from dataclasses import dataclass

"""
USES_IT = """

@dataclass
class Window:
    low: float = 0.8


def compute_advantages(batch, _before=compute_advantages):
    rewards = batch.rewards * Window().low
    return _before(batch._replace(rewards=rewards))
"""


def test_a_program_with_dataclasses_that_takes_the_batch_as_the_tuple_it_is(tmp_path):
    pytest.importorskip("torch")
    docstring = BASELINE.index('"""', 3) + 3
    program = BASELINE[:docstring] + "\n" + DATACLASS + BASELINE[docstring:] + USES_IT
    ended = python(write(tmp_path / "out", program), "evolved_n42.py")
    assert ended.returncode == 0, ended.stderr
    assert "Both functions of evolved_n42 run" in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("loss = loss + 0.1 * (logp - ref_logp).mean()", "ref_logp"),
        ("loss = loss * torch.exp(ref_logp).mean()", "ref_logp"),
        ("loss = loss * info.rewards.mean()", "rewards"),
        ("loss = loss * (1 - info.step / 10)", "step"),
    ],
)
def test_what_verl_does_not_hand_on_fails_in_words(tmp_path, line, what):
    pytest.importorskip("torch")
    held = "    held_back = "
    assert held in BASELINE
    folder = write(tmp_path / "out", BASELINE.replace(held, f"    {line}\n{held}"))
    ended = python(folder, "evolved_n42.py")
    assert ended.returncode == 1
    assert f"Expected {what}, which the program reads, but verl does not hand it on." in ended.stderr


def test_names_of_the_export_in_a_program_and_programs_that_are_none_are_refused():
    with pytest.raises(BadInput, match="_verl_calls"):
        export_for._filled(TEMPLATES["evolved_NODE.py"], "n1", "_verl_calls = 3\n")
    with pytest.raises(BadInput, match="to be Python"):
        export_for._program({"algorithm.py": "def ("}, "algorithm.py")
    with pytest.raises(BadInput, match="one of verl"):
        export_for._templates(load_domain(FOLDER), "moon")
    with pytest.raises(BadInput, match="brings no exports"):
        export_for._templates(load_domain(FOLDER.parent / "circle_packing"), "verl")


IN_VERL = """
import json
from types import SimpleNamespace
import numpy as np
import torch
import verl
from verl.trainer.ppo import core_algos
torch.manual_seed(0)
rows, width = 12, 5
uid = np.array([f"u{row % 3}" for row in range(rows)], dtype=object)
mask = (torch.arange(width)[None] < torch.randint(1, width + 1, (rows, 1))).long()
rewards = torch.zeros(rows, width)
rewards[torch.arange(rows), mask.sum(1) - 1] = torch.rand(rows)
ours, returns = core_algos.get_adv_estimator_fn("evolved_n42")(
    token_level_rewards=rewards, response_mask=mask, config=None, index=uid
)
theirs, _ = core_algos.compute_grpo_outcome_advantage(rewards.clone(), mask, uid)
old = -torch.rand(rows, width)
logp = (old + 0.3 * torch.randn(rows, width)).requires_grad_()
class Config(SimpleNamespace):
    def get(self, name, default=None):
        return getattr(self, name, default)
sizes = {"dp_size": 2, "batch_num_tokens": None, "global_batch_size": 48, "loss_scale_factor": None}
config = Config(
    clip_ratio=0.2, clip_ratio_low=0.2, clip_ratio_high=0.2, clip_ratio_c=1e9, global_batch_info=sizes, rollout_n=4
)
def loss_of(name):
    loss, _ = core_algos.get_policy_loss_fn(name)(
        old_log_prob=old, log_prob=logp, advantages=ours, response_mask=mask.bool(),
        loss_agg_mode="seq-mean-token-mean", config=config, rollout_is_weights=None,
    )
    return float(loss.detach()), torch.autograd.grad(loss, logp)[0]
(own, gradient), (vanilla, wanted) = loss_of("evolved_n42"), loss_of("vanilla")
print(json.dumps({
    "advantages": float((ours - theirs).abs().max()),
    "loss": abs(own - vanilla),
    "gradient": float((gradient - wanted).abs().max()),
    "size": float(wanted.abs().max()),
}))
"""


@pytest.mark.slow
def test_verl_registers_both_and_grpo_is_verls_own_grpo(tmp_path):
    found = python(tmp_path, "-c", "import verl.trainer.ppo.core_algos")
    if found.returncode:
        pytest.skip(f"verl cannot be imported here: {found.stderr.strip().splitlines()[-1]}")
    folder = write(tmp_path / "out", BASELINE)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    ended = python(tmp_path, "-c", IN_VERL, PYTHONPATH=path, VERL_USE_EXTERNAL_MODULES="evolved_n42")
    assert ended.returncode == 0, ended.stderr[-2000:]
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["size"] > 1e-3
    assert max(told["advantages"], told["loss"], told["gradient"]) < 1e-6, told
