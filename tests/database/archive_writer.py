"""Adds nodes to a campaign until it has so many, as servers and the engineer do; killed at any moment.

python archive_writer.py WORKSPACE CAMPAIGN COUNT SEED
"""

import asyncio
import random
import sys
from pathlib import Path

from asi_evolve.database import nodes
from asi_evolve.database.map_elites import appraisal, archive
from asi_evolve.database.population import ScoredNodes
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.map_elites import DEFAULT_MEASURES, ArchiveForm
from asi_evolve.evolution.outcomes import ExperimentStatus
from asi_evolve.evolution.samplers import make_sampler
from asi_evolve.evolution.statistics import Mean

FORM = ArchiveForm(DEFAULT_MEASURES, islands=5, bins=10)


def code(rng):
    """Some lines without blanks."""
    return "".join(f"{rng.choice('abcdefgh') * rng.randint(1, 9)}\n" for _ in range(rng.randint(1, 12)))


async def batch(workspace, campaign, rng, count):
    """Draw, store candidates, measure, then score and admit them; now and then a score moves or is taken back."""
    async with workspace.transaction() as tx:
        population = ScoredNodes(tx, campaign, islands=FORM.islands)
        choices = await make_sampler("map_elites").choose(population, 1, rng)
        parents = [choice.member.id for choice in choices]
        for choice in choices:
            await nodes.count_visit(tx, campaign, choice.member.id, choice.island)
        added = [
            await nodes.add(tx, nodes.NewNode(campaign, "n", "", {"a.py": code(rng)}, str(rng.random()), parents))
            for _ in range(count)
        ]
    measured = await appraisal.appraise(workspace.read, campaign, added)
    async with workspace.transaction() as tx:
        for number in added:
            await nodes.set_status(tx, number, ExperimentStatus.FINISHED)
            if rng.random() < 0.9:
                await nodes.set_score(tx, number, "explore", Mean(round(rng.gauss(0, 1), 2), None, 1))
        if rng.random() < 0.8:  # else they wait in the queue
            await archive.admit(tx, measured)
        for number in rng.choices(added[:1] + parents, k=2):
            again = Mean(round(rng.gauss(0, 1), 2), None, 2)
            await (nodes.hold(tx, number) if rng.random() < 0.2 else nodes.set_score(tx, number, "explore", again))


async def main(root, campaign, count, seed):
    rng = random.Random(seed)
    async with open_workspace(Path(root)) as workspace:
        while True:
            await appraisal.catch_up(workspace.database, campaign, FORM)
            print("x", flush=True)
            missing = count - await nodes.count(workspace.read, campaign)
            if missing <= 0:
                return
            await batch(workspace, campaign, rng, min(50, missing))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
