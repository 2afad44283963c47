"""Make a copy of this domain with a model and problems for its stages on real models (verify, verify_gpu).

    python prepare.py --domain ~/my_rl --model ~/models/Qwen2.5-0.5B --data ~/data/gsm8k
    python prepare.py --domain ~/my_rl --data ~/data/MATH more.jsonl --held-out 500      # other problems, same model
    python prepare.py --domain ~/my_rl --check

The copy is made where there is none yet; start campaigns with its path. What it gets:

    data/train/model/            the files of a Hugging Face model folder: configuration, tokenizer, *.safetensors
    data/train/problems.jsonl    {"prompt", "answer", "task"}, to learn from
    data/train/held_out.jsonl    the same, for evaluation alone; no prompt is in both

The trainer sees data/train; no candidate does. Files of the model are linked to where they lie (hard links: no gigabyte
is copied) where that is on the same disk, else copied; --copy always copies. In a job the folder is mounted, not
copied, and its hash goes by the first and last megabyte of large files. So do not write into the model's files
afterwards.

Problems come as GSM8K or MATH in their published forms, or as your own {"prompt", "answer"}: see real/problems.py.
Names of files and folders (train, test) say which are held out, else one in ten is, by the hash of its prompt. Answers
that math-verify cannot read are left out and counted: no completion could be right.
"""

# ruff: noqa: E402 - neighbours are imported once their folder is known

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from real import model_folder, problems
from real.problems import Problem

PARTS = {"train": "problems.jsonl", "test": "held_out.jsonl"}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _parser().parse_args(arguments)
    try:
        if options.check:
            check(options.domain)
            return
        if not options.model and not options.data:
            raise ValueError("Expected --model, --data or --check, but got none of them.")
        train = make_copy(options.domain) / "data" / "train"
        if options.data:
            found = gather(options.data, options.instruction, options.held_out)
            put_problems(train, found)
        if options.model:
            put_model(train, options.model, copy=options.copy)
    except (OSError, ValueError) as error:
        raise SystemExit(f"prepare.py: {error}") from error
    check(options.domain)


def make_copy(domain: Path) -> Path:
    """A copy of this domain at `domain`, where there is none yet.

    Raises:
        ValueError: something else is there, or it is this very folder.
    """
    domain = domain.expanduser().resolve()
    if domain == HERE:
        if "site-packages" in HERE.parts:
            raise ValueError(f"Expected a folder of your own, since all campaigns share {HERE}. Name another --domain.")
        return domain
    if not domain.exists():
        shutil.copytree(HERE, domain, ignore=shutil.ignore_patterns("__pycache__", "data"))
    if not (domain / "domain.toml").is_file() or not (domain / "real").is_dir():
        raise ValueError(f"Expected a copy of {HERE.name} or nothing at {domain}, but got something else.")
    return domain


def gather(paths: Sequence[Path], instruction: str, most_held_out: int) -> dict[str, list[Problem]]:
    """`train` and `test` problems: readable answers, no prompt twice, none in both.

    Raises:
        ValueError: a file is of no known form, or one of the two is empty.
    """
    try:
        from real.checking import Checker
    except ImportError as error:
        raise ValueError(f"Expected math-verify to be installed, but: {error}. Do: pip install math-verify") from error
    checker = Checker()
    parts: dict[str, dict[str, Problem]] = {part: {} for part in PARTS}
    unreadable = 0
    for path in paths:
        for split, problem in problems.published(path.expanduser(), instruction):
            if checker.can_read(problem.answer):
                parts[split].setdefault(problem.prompt, problem)
            else:
                unreadable += 1
    held_out = _spread(list(parts["test"].values()), most_held_out)
    found = {"train": [p for prompt, p in parts["train"].items() if prompt not in parts["test"]], "test": held_out}
    if unreadable:
        print(f"Left out {unreadable} problems whose answers math-verify cannot read.")
    if not all(found.values()):
        raise ValueError(
            f"Expected problems to learn from and problems that are held out, but got {len(found['train'])} and "
            f"{len(found['test'])}. Give more, or files with train and test in their names."
        )
    return found


def _spread(found: list[Problem], most: int) -> list[Problem]:
    """At most so many, by the hash of their prompts, so that the first hundred are as good as any."""
    found = sorted(found, key=lambda problem: hashlib.sha256(problem.prompt.encode("utf-8", "surrogatepass")).digest())
    return found[: most or None]


def put_problems(train: Path, found: dict[str, list[Problem]]) -> None:
    """Write both files; nothing is replaced before both are complete."""
    train.mkdir(parents=True, exist_ok=True)
    for part, name in PARTS.items():
        problems.write(train / f"{name}.part", found[part])
    for name in PARTS.values():
        (train / f"{name}.part").replace(train / name)


def put_model(train: Path, model: Path, *, copy: bool) -> None:
    """Link or copy the files of a model folder to train/model, in place of what is there.

    Raises:
        ValueError: it is no model folder that can be used.
    """
    files = model_folder.files_of(model.expanduser())
    train.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".model-", dir=train))
    try:
        beside.chmod(0o755)
        for file in files:
            _put(file.resolve(), beside / file.name, copy=copy)
        shutil.rmtree(train / "model", ignore_errors=True)
        beside.rename(train / "model")
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _put(source: Path, target: Path, *, copy: bool) -> None:
    if not copy and (os.getuid() != 0 or source.stat().st_mode & 0o004):  # experiments of root's run as another user
        try:
            os.link(source, target)
        except OSError:  # another disk, or a file system without links
            pass
        else:
            return
    shutil.copyfile(source, target)
    target.chmod(0o644)


def check(domain: Path) -> None:
    """Say what a copy holds.

    Raises:
        SystemExit: something that the stages need is missing or cannot be read.
    """
    train = domain.expanduser() / "data" / "train"
    lines: list[str] = []
    missing: list[str] = []
    for name in PARTS.values():
        try:
            found = problems.read(train / name)
        except (OSError, ValueError) as error:
            missing.append(f"{name} ({error})")
        else:
            lines.append(f"{name}: {len(found):,} problems of {', '.join(sorted({problem.task for problem in found}))}")
    try:
        files = model_folder.files_of(train / "model")
    except (OSError, ValueError) as error:
        missing.append(f"model ({error})")
    else:
        settings: dict[str, Any] = json.loads((train / "model" / "config.json").read_text(encoding="utf-8"))
        gigabytes = sum(file.stat().st_size for file in files) / 1e9
        lines.append(f"model: {settings.get('model_type')}, {gigabytes:.3g} GB, {len(files)} files")
    print("\n".join([str(train), *lines]))
    if missing:
        raise SystemExit(f"prepare.py: Still missing for the stages on real models: {'; '.join(missing)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prepare.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--domain", type=Path, required=True, help="the copy of this domain")
    parser.add_argument("--model", type=Path, help="a Hugging Face model folder, with its tokenizer")
    parser.add_argument("--copy", action="store_true", help="copy the model's files, also where they could be linked")
    parser.add_argument("--data", type=Path, nargs="+", help="files or folders: GSM8K, MATH, or your own")
    parser.add_argument(
        "--held-out", type=int, default=1000, help="most problems to hold out; 0 takes all; default 1000"
    )
    parser.add_argument("--instruction", default=problems.MATHEMATICS, help="put behind the problems of GSM8K and MATH")
    parser.add_argument("--check", action="store_true", help="only say what the copy holds")
    return parser


if __name__ == "__main__":
    main()
