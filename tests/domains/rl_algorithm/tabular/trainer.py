"""A trainer of one page behind the real boundary: a table of logits learns to spell one word for each prompt.

It evaluates exactly, from the table, without a call. It leaves the whole table, so that two runs can be compared by
every parameter, and how often it has called the candidate.
"""

# ruff: noqa: E402 - the folders of what is imported are known only here

import json
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), sys.argv[1] + "/channel"]
from boundary.checking import clipped
from boundary.remote import RemoteAlgorithm

PROMPTS, SAMPLES, LENGTH, LETTERS = 4, 8, 3, 5
EPOCHS, MINIBATCHES, RATE = 2, 2, 4.0


def logps_of(table):
    return table - np.log(np.exp(table).sum(axis=-1, keepdims=True))


def pass_at_1(table, words):
    chances = np.take_along_axis(np.exp(logps_of(table)), words[:, :, None], axis=-1)
    return float(chances.prod(axis=1).mean())


def sample(table, words, random):
    """Letters (B, T) and the batch that the candidate gets; words end at their last letter."""
    logps = logps_of(table)
    prompts = np.repeat(np.arange(PROMPTS), SAMPLES)
    letters = (logps[prompts] + random.gumbel(size=(len(prompts), LENGTH, LETTERS))).argmax(-1)
    logp = np.take_along_axis(logps[prompts], letters[:, :, None], axis=-1)[:, :, 0]
    batch = {
        "rewards": (letters == words[prompts]).all(axis=1).astype(np.float32),
        "group_ids": prompts,
        "group_size": SAMPLES,
        "lengths": np.full(len(prompts), LENGTH),
        "mask": np.ones_like(logp, np.float32),
        "old_logp": logp.astype(np.float32),
        "entropy": -(np.exp(logps) * logps).sum(-1)[prompts].astype(np.float32),
    }
    return letters, batch


def descend(table, prompts, letters, gradient):
    """One step of d loss / d table, which is d loss / d logp times (one hot - chances)."""
    chances = np.exp(logps_of(table))[prompts]
    by_logits = gradient[:, :, None] * (np.eye(LETTERS)[letters] - chances)
    change = np.zeros_like(table)
    np.add.at(change, prompts, by_logits)
    table -= RATE * change / max(1.0, np.linalg.norm(change))


def main():
    job = Path(sys.argv[1])
    params = json.loads((job / "params.json").read_text())
    sizes = params["parameters"]
    random = np.random.default_rng(params["hidden_seed"])
    words = random.integers(0, LETTERS, (PROMPTS, LENGTH))
    table = np.zeros((PROMPTS, LENGTH, LETTERS))
    table += 1.5 * np.eye(LETTERS)[words]  # a warm start: without any success there is nothing to learn from
    algorithm = RemoteAlgorithm(call_seconds=sizes["call_seconds"], seconds_in_all=sizes["seconds_in_all"])
    algorithm.begin(params["seed"] * 1000)
    curve = [pass_at_1(table, words)]
    for step in range(sizes["steps"]):
        letters, batch = sample(table, words, random)
        batch |= {"step": step, "total_steps": sizes["steps"]}
        advantages = algorithm.advantages(batch)
        reference = batch["old_logp"]
        for rows in np.split(np.arange(len(letters)), MINIBATCHES) * EPOCHS:
            info = {name: value[rows] if np.ndim(value) else value for name, value in batch.items()}
            logp = np.take_along_axis(logps_of(table)[info["group_ids"]], letters[rows][:, :, None], -1)[:, :, 0]
            answer = algorithm.loss(
                logp.astype(np.float32), info["old_logp"], reference[rows], advantages[rows], info["mask"], info
            )
            descend(table, info["group_ids"], letters[rows], clipped(answer.gradient, 1.0))
        if step % sizes["evaluate_every"] == 0:
            curve.append(pass_at_1(table, words))
    result = {"table": table.tolist(), "curve": curve, "calls": algorithm.calls, "pass_at_1": pass_at_1(table, words)}
    (job / "out" / "runs.json").write_text(json.dumps(result, allow_nan=False))


main()
