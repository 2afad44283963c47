"""One run of training on a real model: reads model and problems, trains with the candidate, leaves runs.json.

What it reads: train/model, train/problems.jsonl, train/held_out.jsonl (prepare.py makes them), params.json. Neither is
seen by a candidate, which has the numbers of boundary/batch.py and nothing else.

What is said of the result is what the bed says of its: pass@1 on held-out problems before, during and after. Whether
answers are right is math-verify's word, which takes any expression that is equal to the answer: a model may learn to
repeat a sum instead of computing it.
"""

# ruff: noqa: E402 - what is imported reads the environment, and needs packages that the bed does not

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
os.environ |= {"TOKENIZERS_PARALLELISM": "false", "TRL_EXPERIMENTAL_SILENCE": "1"}

from real.missing import check_packages, expect_files

check_packages()

import datasets
import torch
import transformers
from training.algorithm import Algorithm
from training.runs import Evaluation, Run
from trl.trainer.grpo_config import GRPOConfig

from real import model_folder
from real.checking import Checker
from real.evaluation import evaluate
from real.grpo import CandidateGRPOTrainer
from real.problems import Problem, read
from real.settings import Settings

REGIME = "real"
Tell = Callable[[dict[str, float]], None]


def train(data: Path, algorithm: Algorithm, settings: Settings, seed: int, tell: Tell) -> Run:
    """One run.

    Args:
        data: the folder with model/, problems.jsonl and held_out.jsonl.
        seed: of all that is random.
        tell: takes a line of progress after each rollout.

    Raises:
        SystemExit: something is missing, or a setting does not fit the data; it says what to do.
        channel.CandidateFault: the candidate's fault.
    """
    expect_files(data)
    began = _cpu_seconds()
    algorithm.begin(seed)
    transformers.set_seed(seed)
    device = _device(settings.device)
    model, tokenizer = model_folder.load(data / "model", device)
    chat = settings.template == "chat" or (settings.template == "auto" and bool(tokenizer.chat_template))
    problems, held_out = (_short_enough(read(data / name), tokenizer, settings) for name in FILES)
    if len(problems) < settings.prompts:
        raise SystemExit(
            f"Expected at least {settings.prompts} problems of at most {settings.max_prompt} tokens, one for each "
            f"prompt of a rollout, but got {len(problems)}. Give prepare.py more, or lower `prompts`."
        )
    if not held_out:
        raise SystemExit(
            f"Expected held-out problems of at most {settings.max_prompt} tokens, but all have more. "
            "Raise `max_prompt`."
        )
    held_out = held_out[: settings.held_out or None]
    checker = Checker()
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(model, tokenizer, problems, algorithm, settings, seed, checker, Path(folder), chat)
        watch = Watch(trainer, held_out, checker, settings, tell)
        trainer.add_callback(watch)
        trainer.train()
    return watch.run(seed, _cpu_seconds() - began)


FILES = ("problems.jsonl", "held_out.jsonl")


def make_trainer(
    model: Any,
    tokenizer: Any,
    problems: list[Problem],
    algorithm: Algorithm,
    settings: Settings,
    seed: int,
    checker: Checker,
    folder: Path,
    chat: bool,
) -> CandidateGRPOTrainer:
    """The trainer of a run; `folder` is a place for what transformers may want to write."""

    def is_right(completions: list[Any], answer: list[str], **_: Any) -> list[float]:
        texts = [text if isinstance(text, str) else text[0]["content"] for text in completions]
        return checker.rewards(texts, answer)

    rows = [
        {"prompt": [{"role": "user", "content": found.prompt}] if chat else found.prompt, "answer": found.answer}
        for found in problems
    ]
    return CandidateGRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=is_right,
        args=configuration(settings, seed, folder, on_gpu=model.device.type == "cuda"),
        train_dataset=datasets.Dataset.from_list(rows),
        algorithm=algorithm,
        rollouts=settings.steps,
        max_gradient=settings.max_gradient,
        chat=chat,
    )


def configuration(settings: Settings, seed: int, folder: Path, *, on_gpu: bool) -> GRPOConfig:
    """TRL's own settings. `beta` only says that a reference model is kept: the loss is the candidate's."""
    return GRPOConfig(
        output_dir=str(folder),
        seed=seed % 2**32,
        max_steps=settings.updates,
        num_generations=settings.samples,
        per_device_train_batch_size=settings.rows,
        gradient_accumulation_steps=settings.accumulate,
        steps_per_generation=settings.minibatches * settings.accumulate,
        num_iterations=settings.epochs,
        beta=1.0,
        loss_type="grpo",
        temperature=settings.temperature,
        max_completion_length=settings.max_completion,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=settings.warmup,
        optim="adamw_torch",
        max_grad_norm=settings.max_gradient,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        gradient_checkpointing=on_gpu,
        dataloader_pin_memory=on_gpu,
        disable_dropout=True,
        save_strategy="no",
        report_to="none",
        logging_strategy="no",
        disable_tqdm=True,
    )


class Watch(transformers.TrainerCallback):
    """Tells progress and evaluates between rollouts."""

    def __init__(
        self,
        trainer: CandidateGRPOTrainer,
        held_out: list[Problem],
        checker: Checker,
        settings: Settings,
        tell: Tell,
    ) -> None:
        self._trainer, self._held_out, self._checker = trainer, held_out, checker
        self._settings, self._tell = settings, tell
        self._per_rollout = settings.epochs * settings.minibatches
        self.evaluations: list[tuple[int, Evaluation]] = []
        self._third = max(1, round(settings.steps / 3))

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """The warm start; here the model is prepared, and measured in the precision of all that follows."""
        self.evaluate(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 -- transformers'
        """After each step of the optimiser."""
        done, rest = divmod(state.global_step, self._per_rollout)
        if rest:
            return
        every = self._settings.evaluate_every
        if done in (self._third, self._settings.steps) or (every and done % every == 0):
            self.evaluate(done)
        self.tell(done)

    def evaluate(self, done: int) -> None:
        """Ask the held-out problems after so many rollouts."""
        settings = self._settings
        found = evaluate(
            self._trainer, self._held_out, self._checker, settings.held_out_samples, settings.evaluation_batch
        )
        self.evaluations.append((done, found))
        if done == 0:
            self._tell({"step": 0, "of": settings.steps, "pass@1": found.pass_at_1, "greedy": found.greedy})

    def tell(self, done: int) -> None:
        """A line of progress; pass@1 where it was just measured."""
        recent = self._trainer.updates[-self._per_rollout * self._settings.accumulate :]
        line: dict[str, float] = {"step": done, "of": self._settings.steps, "reward": self._trainer.rewards[-1]}
        for name in ("loss", "entropy", "clip_fraction", "length"):
            line[name] = sum(getattr(update, name) for update in recent) / len(recent)
        if self.evaluations[-1][0] == done:
            line["pass@1"] = self.evaluations[-1][1].pass_at_1
            line["kl"] = self.evaluations[-1][1].kl
            if done == self._third:
                line["third.gain"] = line["pass@1"] - self.evaluations[0][1].pass_at_1
        told = {f"candidate/{name}": value for name, value in recent[-1].told.items()}
        self._tell(dict(list((line | told).items())[:16]))

    def run(self, seed: int, cpu_seconds: float) -> Run:
        """What came of it all."""
        (_, warm), (_, last) = self.evaluations[0], self.evaluations[-1]
        updates = self._trainer.updates
        return Run(
            regime=REGIME,
            seed=seed,
            steps=self._settings.steps,
            curve=[(done, found.pass_at_1) for done, found in self.evaluations],
            pass_at_1=last.pass_at_1,
            greedy=last.greedy,
            by_task=last.by_task,
            entropy=last.entropy,
            kl=last.kl,
            clip_fraction=sum(update.clip_fraction for update in updates) / len(updates),
            length=last.length,
            length_start=warm.length,
            warm=warm,
            cpu_seconds=cpu_seconds,
        )


def _short_enough(problems: list[Problem], tokenizer: Any, settings: Settings) -> list[Problem]:
    return [found for found in problems if len(tokenizer(found.prompt)["input_ids"]) <= settings.max_prompt]


def _device(wanted: str) -> str:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SystemExit("Expected a GPU, but torch sees none in the sandbox. Do: asi-evolve doctor.")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def _cpu_seconds() -> float:
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
