"""The same two calls on the databases of other systems: run by `memory.py --peers PYTHON` with that interpreter.

Each peer is driven through its own database class with its defaults, but for a population that is large enough to hold
every node (OpenEvolve would evict beyond 1,000). No embedding is given, which spares ShinkaEvolve its comparison with
all others. It imports nothing of ours.

    PYTHON memory_peers.py FOLDER ROUNDS SECONDS SIZE...

Prints one line of JSON for each peer and size: CPU milliseconds of each call, or why there are none.
"""

import contextlib
import io
import json
import logging
import random
import sys
import time
from pathlib import Path

CODE_BYTES = 8_000
SLOW_S = 1.0


def code(rng):
    line = f"# {rng.random()} " + " ".join(f"w{rng.randrange(5000):x}" for _ in range(8)) + "\n"
    return (line * (CODE_BYTES // len(line) + 1))[:CODE_BYTES]


class OpenEvolve:
    name = "openevolve"

    def __init__(self, folder, largest):
        from openevolve.config import DatabaseConfig
        from openevolve.database import Program, ProgramDatabase

        self.program, self.rng, self.count = Program, random.Random(0), 0
        config = DatabaseConfig(db_path=str(folder / "openevolve"), in_memory=False, population_size=largest + 1000)
        self.database = ProgramDatabase(config)

    def add(self):
        self.count += 1
        parent = str(self.rng.randint(1, self.count - 1)) if self.count > 1 else None
        metrics = {"combined_score": round(self.rng.random(), 3)}
        new = self.program(id=str(self.count), code=code(self.rng), parent_id=parent, metrics=metrics)
        self.database.add(new, iteration=self.count, target_island=self.count % 5)

    def sample(self):
        self.database.sample_from_island(self.rng.randrange(5), num_inspirations=2)


class ShinkaEvolve:
    name = "shinka-evolve"

    def __init__(self, folder, _largest):
        from shinka.database import DatabaseConfig, Program, ProgramDatabase

        self.program, self.rng, self.count = Program, random.Random(0), 0
        self.database = ProgramDatabase(DatabaseConfig(db_path=str(folder / "shinka.sqlite")))

    def add(self):
        self.count += 1
        parent = str(self.rng.randint(1, self.count - 1)) if self.count > 1 else None
        score = round(self.rng.random(), 3)
        new = self.program(
            id=str(self.count),
            code=code(self.rng),
            parent_id=parent,
            generation=self.count,
            combined_score=score,
            correct=True,
        )
        self.database.add(new)
        self.database.check_scheduled_operations()

    def sample(self):
        self.database.sample()


def told(peer, size, **fields):
    print(json.dumps({"peer": peer, "nodes": size} | fields), file=sys.__stdout__, flush=True)


def timed(call, rounds):
    """CPU ms of each call; fewer than `rounds` where one takes too long."""
    taken = []
    for _ in range(rounds):
        begin = time.process_time()
        call()
        taken.append((time.process_time() - begin) * 1e3)
        if taken[-1] > SLOW_S * 1e3:
            break
    return taken


def measure(kind, folder, rounds, seconds, sizes):
    try:
        peer = kind(folder, max(sizes))
    except ImportError as error:
        for size in sizes:
            told(kind.name, size, reason=f"cannot be imported: {error}")
        return
    stopped = ""
    for size in sizes:
        begin = time.monotonic()
        while peer.count < size and not stopped:
            peer.add()
            if time.monotonic() - begin > seconds:
                stopped = f"stopped: {peer.count:,} nodes after {seconds:.0f} s"
        if stopped:
            told(kind.name, size, reason=stopped)
            continue
        calls = {name: timed(call, rounds) for name, call in (("add", peer.add), ("sample", peer.sample))}
        told(kind.name, size, **calls)
        slow = [name for name, taken in calls.items() if taken[-1] > SLOW_S * 1e3]
        stopped = f"stopped: {slow[0]} took over a second at {size:,}" if slow else ""


def main():
    folder, rounds, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    logging.disable(logging.CRITICAL)
    for kind in (OpenEvolve, ShinkaEvolve):
        with contextlib.redirect_stdout(io.StringIO()):
            measure(kind, folder, rounds, seconds, [int(size) for size in sys.argv[4:]])


if __name__ == "__main__":
    main()
