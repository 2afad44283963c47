"""TRL's GRPOTrainer (written against trl 1.16) with the advantages and the loss of an algorithm that is not in this
process.

Sampling, rewards, log-probabilities, reference model, optimiser and clipping stay TRL's. What an `Algorithm` answers is
d loss / d logp, and that is all that reaches the parameters:

    surrogate = sum over (batch, length) of logp * gradient, whose gradient by the parameters is that of the loss

Three things differ from the parent on purpose. Every rollout has old log-probabilities, entropies and reference
log-probabilities, which TRL leaves out where its own loss does not read them. Minibatches are made of whole groups in
random order, where TRL mixes rows, so that samples of a group stay neighbours. And d loss / d logp is clipped by its
global norm before the parameters' gradient is, so that no algorithm gains by the scale of its loss.

What it is not: for several processes, vLLM, tools or images; the candidate's loss is of one minibatch in one process.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from boundary.checking import clipped
from training.algorithm import Algorithm, Answer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

CLIP = 0.2
"""As on the bed: a token counts as clipped where its ratio is further from 1, whatever the algorithm does about it."""


class Update(NamedTuple):
    """What one minibatch came to."""

    loss: float
    clip_fraction: float
    entropy: float
    length: float
    gradient_norm: float
    """Of d loss / d logp, before it was clipped."""
    told: dict[str, float]
    """What the candidate says of it; shown, and judged by nobody."""


class CandidateGRPOTrainer(GRPOTrainer):
    """GRPO whose algorithm is asked instead of known."""

    # as the parent leaves them once it is built; its own annotations say less
    args: GRPOConfig
    model: torch.nn.Module
    num_generations: int

    def __init__(
        self,
        *args: Any,
        algorithm: Algorithm,
        rollouts: int,
        max_gradient: float = 1.0,
        chat: bool = False,
        **kwargs: Any,
    ) -> None:
        """As the parent, whose `args.beta` has to be over 0: it then keeps a reference model, and nothing else is made
        of it here.

        Args:
            algorithm: who is asked.
            rollouts: of the whole run, for `total_steps`.
            max_gradient: global norm that d loss / d logp is clipped to.
            chat: whether prompts go through the chat template.
        """
        super().__init__(*args, **kwargs)
        if self.accelerator.num_processes != 1 or self.use_vllm:
            raise ValueError("Expected one process and no vLLM, but got others. Run on one device.")
        if self.args.beta <= 0 or self.ref_model is None:
            raise ValueError(f"Expected beta over 0, so that a reference model is kept, but got {self.args.beta}.")
        if self.args.per_device_train_batch_size % self.num_generations:
            raise ValueError(
                f"Expected rows of whole groups of {self.num_generations}, but got batches of "
                f"{self.args.per_device_train_batch_size}."
            )
        self.algorithm = algorithm
        self.rollouts = rollouts
        self.max_gradient = max_gradient
        self.chat = chat
        self.rollout = -1
        """Number of the present one."""
        self.updates: list[Update] = []
        self.rewards: list[float] = []
        """Mean of each rollout."""
        self._rewards: torch.Tensor | None = None
        self._whole: dict[str, Any] = {}
        self._scored: tuple[torch.Tensor, torch.Tensor] | None = None
        self._scoring = False
        self._order = torch.Generator().manual_seed(self.args.seed)

    def form_prompt(self, prompt: str) -> str | list[dict[str, str]]:
        """A prompt as the parent takes it."""
        return [{"role": "user", "content": prompt}] if self.chat else prompt

    # A rollout

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(*args, **kwargs)
        summed: torch.Tensor = rewards.nansum(dim=1)
        self._rewards = summed
        self.rewards.append(float(summed.mean()))
        return rewards

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        """As the parent; while a rollout is scored, what the policy gave is kept, entropies included."""
        of_policy = self._scoring and model is self.model
        found = super()._get_per_token_logps_and_entropies(
            model, *args, **{**kwargs, "compute_entropy": kwargs.get("compute_entropy", False) or of_policy}
        )
        if of_policy:
            self._scored = found[:2]
        return found

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """A rollout of the parent's with the algorithm's advantages, and with what its loss may read."""
        self.rollout += 1
        self._scored, self._scoring = None, True
        try:
            output = super()._generate_and_score_completions(inputs)
            logp, entropy = self._score(output)
        finally:
            self._scoring = False
        assert self._rewards is not None
        mask = output["completion_mask"].float()
        rows = mask.shape[0]
        output["old_per_token_logps"], output["entropy"] = logp.float() * mask, entropy.float() * mask
        output["rewards"] = self._rewards.float()
        output["group_ids"] = torch.arange(rows, device=mask.device) // self.num_generations
        output["advantages"] = self._advantages(output)
        return output

    def _score(self, output: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities and entropies of a rollout: the parent's, or our own where it had no use for them."""
        if self._scored is not None:
            return self._scored
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        with torch.no_grad():
            logp, entropy, _ = self._get_per_token_logps_and_entropies(
                self.model,
                ids,
                mask,
                output["completion_ids"].size(1),
                batch_size=self.args.per_device_train_batch_size,
            )
        return logp, entropy

    def _advantages(self, output: dict[str, Any]) -> torch.Tensor:
        found = np.ascontiguousarray(self.algorithm.advantages(self._told(output)), dtype=np.float32)
        return torch.from_numpy(found).to(output["completion_mask"].device)

    def _told(self, rows: dict[str, Any]) -> dict[str, np.ndarray]:
        """What an algorithm is told of some rows; positions outside the mask are zeros."""
        mask = rows["completion_mask"].float()
        told = {
            "rewards": rows["rewards"],
            "group_ids": rows["group_ids"],
            "lengths": mask.sum(dim=1).long(),
            "mask": mask,
            "old_logp": rows["old_per_token_logps"],
            "entropy": rows["entropy"],
        }
        numbers = {"group_size": self.num_generations, "step": self.rollout, "total_steps": self.rollouts}
        return {name: _array(tensor) for name, tensor in told.items()} | {
            name: np.asarray(number, dtype=np.int64) for name, number in numbers.items()
        }

    # Minibatches

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """The next part of the rollout, or of a new one; parts are whole groups, in an order drawn anew each time."""
        if not self.model.training:
            return super()._prepare_inputs(generation_batch)
        parts = self.args.steps_per_generation or 1
        if self._step % (parts * self.num_iterations) == 0 or self._buffered_inputs is None:
            self._whole = self._generate_and_score_completions(generation_batch)
        if self._step % parts == 0 or self._buffered_inputs is None:
            self._buffered_inputs = self._split(self._whole, parts)
        return self._buffered_inputs[self._step % parts]

    def _split(self, rollout: dict[str, Any], parts: int) -> list[dict[str, Any]]:
        rows = rollout["completion_mask"].shape[0]
        groups = torch.randperm(rows // self.num_generations, generator=self._order)
        order = (groups[:, None] * self.num_generations + torch.arange(self.num_generations)).flatten()
        return [
            {
                name: value[chosen.to(value.device)] if isinstance(value, torch.Tensor) and value.dim() else value
                for name, value in rollout.items()
            }
            for chosen in order.chunk(parts)
        ]

    # The loss

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """A scalar with the value of the algorithm's loss and its gradient, over the accumulated parts."""
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        mask = inputs["completion_mask"].float()
        logp, entropy, auxiliary = self._get_per_token_logps_and_entropies(
            model, ids, attention, mask.shape[1], compute_entropy=True, compute_aux_loss=self.aux_loss_enabled
        )
        logp = torch.where(mask > 0, logp.float(), 0.0)
        old = inputs["old_per_token_logps"]
        answer = self.algorithm.loss(
            _array(logp),
            _array(old),
            _array(inputs["ref_per_token_logps"].float() * mask),
            _array(inputs["advantages"]),
            _array(mask),
            self._told(inputs),
        )
        gradient = torch.from_numpy(clipped(answer.gradient, self.max_gradient)).to(logp.device)
        surrogate = (logp * gradient).sum()
        loss = surrogate + (answer.loss - surrogate).detach()
        if auxiliary is not None:
            loss = loss + self.router_aux_loss_coef * auxiliary
        with torch.no_grad():
            self._note(answer, logp, old, entropy, mask)
        return loss / self.current_gradient_accumulation_steps

    def _note(self, answer: Answer, logp: Any, old: Any, entropy: Any, mask: Any) -> None:
        tokens = mask.sum().clamp(min=1)
        ratio = torch.exp(logp - old)
        self.updates.append(
            Update(
                loss=answer.loss,
                clip_fraction=float((((ratio - 1).abs() > CLIP) * mask).sum() / tokens),
                entropy=float((entropy.float() * mask).sum() / tokens),
                length=float(mask.sum(dim=1).mean()),
                gradient_norm=float(np.linalg.norm(answer.gradient.astype(np.float64))),
                told=answer.metrics,
            )
        )


def _array(tensor: torch.Tensor) -> np.ndarray:
    """float32 or int64, C order, on the host."""
    found = tensor.detach().cpu()
    return np.ascontiguousarray(found.float().numpy() if found.is_floating_point() else found.long().numpy())
