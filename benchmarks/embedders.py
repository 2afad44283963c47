"""What MiniLM costs: the first vector of a fresh process, memory, and each text, on one BLAS thread and on all.

Beside it sentence-transformers with the same weights, where that is installed:

    python benchmarks/embedders.py [--runs 5] [--texts 64]
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec

from asi_evolve.database.search.embedders import weights
from asi_evolve.database.search.embedders.minilm import MiniLM

LENGTHS = (16, 64, 256)
SENTENCES = (
    "the loss of a small transformer falls faster when weight decay is lower and learning rate warm up is longer",
    "while gradient clipping keeps attention logits bounded so evolution finds programs that score better under noise",
)
WORDS = " ".join(SENTENCES).split()
OURS = """
import asyncio
from pathlib import Path
from asi_evolve.database.search.embedders.minilm import MiniLM
embedder = MiniLM(Path(folder))
asyncio.run(embedder.encode_queries(["Does a longer warm-up help?"]))
"""
THEIRS = """
from sentence_transformers import SentenceTransformer
SentenceTransformer(folder, device="cpu", local_files_only=True).encode(["Does a longer warm-up help?"])
"""
FRESH = """
import json, sys, time
begin, cpu = time.perf_counter(), time.process_time()
folder = sys.argv[1]
{program}
took = time.perf_counter() - begin, time.process_time() - cpu
with open("/proc/self/status") as stream:
    lines = dict(line.split(":", 1) for line in stream)
print(json.dumps([*took, *(int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))]))
"""


class AllThreads:
    """Stands in for the controller of BLAS threads, and leaves them alone."""

    def limit(self, **_):
        """As threadpoolctl's."""
        return contextlib.nullcontext()


def first_vector(program, folder):
    """(wall s, CPU s, MB resident, MB at its peak) of a fresh process when it has its first vector."""
    done = subprocess.run(
        [sys.executable, "-c", FRESH.format(program=program), str(folder)],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


async def per_text(embedder, words, count):
    """(ms of wall clock for a query, ms of wall clock and of CPU for a document among `count`)."""
    texts = [" ".join(random.Random(seed).choices(WORDS, k=words)) for seed in range(count)]
    queries = []
    for text in texts[:8]:
        begin = time.perf_counter()
        await embedder.encode_queries([text])
        queries.append(time.perf_counter() - begin)
    begin, cpu = time.perf_counter(), time.process_time()
    await embedder.encode_documents(texts)
    took = time.perf_counter() - begin, time.process_time() - cpu
    return statistics.median(queries) * 1e3, *(seconds / count * 1e3 for seconds in took)


async def measure_texts(folder, count):
    """A row for each length and number of threads, measured in turns."""
    one, several = MiniLM(folder), MiniLM(folder)
    await one.prepare()
    await several.prepare()
    several._model._threads = AllThreads()
    print(f"\n{'':24}{'query ms':>10}{'text ms':>10}{'CPU ms':>10}   ({count} texts at a time)")
    for words in LENGTHS:
        for name, embedder in (("one thread", one), ("all threads", several)):
            query, wall, cpu = await per_text(embedder, words, count)
            print(f"{f'{words} words, {name}':24}{query:10.1f}{wall:10.1f}{cpu:10.1f}", flush=True)


def main():
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--texts", type=int, default=64)
    options = parser.parse_args()
    (place, *_) = weights.there() or [None]
    if place is None:
        sys.exit(f"Expected the weights of all-MiniLM-L6-v2 on this machine. Do: {weights.REMEDY}.")
    programs = {"python alone": "", "minilm": OURS}
    if find_spec("sentence_transformers") and (place.folder / "modules.json").exists():
        programs["sentence-transformers"] = THEIRS
    measured = {name: [] for name in programs}
    for _ in range(options.runs):  # side by side, so that a busy machine is busy for all
        for name, program in programs.items():
            measured[name].append(first_vector(program, place.folder))
    print(
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} CPUs, {options.runs} runs, median"
    )
    print(f"{'first vector':24}{'wall s':>10}{'CPU s':>10}{'RSS MB':>10}{'peak MB':>10}")
    for name, values in measured.items():
        wall, cpu, resident, peak = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"{name:24}{wall:10.2f}{cpu:10.2f}{resident:10.0f}{peak:10.0f}")
    asyncio.run(measure_texts(place.folder, options.texts))


if __name__ == "__main__":
    main()
