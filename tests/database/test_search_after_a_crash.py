"""Text index and vectors are in step after any crash, whenever it comes."""

import asyncio
import signal
import subprocess
import sys

import pytest
from asi_evolve.database.search import documents, vector_index
from asi_evolve.database.workspace import open_workspace

pytestmark = pytest.mark.anyio

# Stores texts, or embeds them, and stops for good at a chosen moment, where it waits to be killed.
PROGRAM = """
import asyncio, sys, zlib
from pathlib import Path
from asi_evolve.database.search import documents
from asi_evolve.database.connection import Transaction
from asi_evolve.database.workspace import open_workspace

class HashingEmbedder:
    fingerprint, dimension, batches = "hashing-64", 64, 0

    async def prepare(self):
        pass

    async def encode_documents(self, texts):
        self.batches += 1
        await stop("encoding" if self.batches == 2 else "")
        return [self.vector(text) for text in texts]

    async def encode_queries(self, texts):
        return [self.vector(text) for text in texts]

    def vector(self, text):
        counts = [0.0] * 64
        for word in text.lower().split():
            counts[zlib.crc32(word.encode()) % 64] += 1.0
        return counts

async def stop(here):
    if here == sys.argv[2]:
        print("stopped", flush=True)
        await asyncio.Event().wait()

class Watched:
    \"\"\"Stops inside the transaction that stores the second batch, between the vectors and the queue.\"\"\"
    def __init__(self):
        self.seen, self.many = 0, Transaction.many

    async def __call__(self, tx, sql, parameters):
        await self.many(tx, sql, parameters)
        if "INSERT INTO vectors" in sql:
            self.seen += 1
            await stop("storing" if self.seen == 2 else "")

async def main():
    watched = Watched()
    Transaction.many = lambda tx, sql, parameters: watched(tx, sql, parameters)
    async with open_workspace(Path(sys.argv[1]), HashingEmbedder()) as workspace:
        if sys.argv[2] != "free":
            async with workspace.transaction() as tx:
                for number in range(1, 101):
                    await documents.put(tx, "lesson", number, f"zebra z{number:03d}")
        await stop("between")
        if sys.argv[2] == "free":
            print("ready", flush=True)
            sys.stdin.readline()
        await workspace.documents.catch_up()
        print("done", flush=True)

asyncio.run(main())
"""


def program(root, moment):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, root, moment], **pipes)


def killed(root, moment):
    process = program(root, moment)
    assert process.stdout.readline() == "stopped\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


async def in_step(workspace, count):
    """Every text has one vector, and the text index agrees with the texts."""
    read = workspace.read
    assert await read.value("SELECT count(*) FROM documents") == count
    assert await read.value("SELECT count(*) FROM vectors") == count
    assert await read.value("SELECT count(DISTINCT document_id) FROM vectors") == count
    assert await read.value("SELECT count(*) FROM unembedded") == 0
    assert await read.value("PRAGMA integrity_check") == "ok"
    async with workspace.transaction() as tx:
        await tx.execute("INSERT INTO documents_fts (documents_fts, rank) VALUES ('integrity-check', 1)")


@pytest.mark.parametrize(
    ("moment", "kept"),
    [("between", 0), ("encoding", vector_index.BATCH), ("storing", vector_index.BATCH)],
    ids=["between text and vector", "in the model, after a batch", "in the transaction of a batch"],
)
async def test_a_process_killed_between_text_and_vectors_leaves_the_rest_to_the_next_search(
    tmp_path, hashing, moment, kept
):
    killed(tmp_path, moment)
    embedder = hashing()
    async with open_workspace(tmp_path, embedder) as workspace:
        assert await workspace.read.value("SELECT count(*) FROM documents") == 100
        assert await workspace.read.value("SELECT count(*) FROM vectors") == kept
        first = await workspace.documents.find("zebra z077", "lesson")
        assert first.hits[0].ref_id == 77  # by words, or by meaning where it was quick
        for _ in range(500):
            found = await workspace.documents.find("zebra z077", "lesson")
            if found.method == "hashing-64":
                break
            await asyncio.sleep(0.01)
        assert found.method == "hashing-64"
        assert 77 in [hit.ref_id for hit in found.hits if hit.score == pytest.approx(1.0, abs=1e-5)]
        await in_step(workspace, 100)
    assert len(embedder.encoded) == 100 - kept


async def test_a_few_texts_that_a_crash_left_without_vector_get_it_before_the_answer(tmp_path, hashing):
    killed(tmp_path, "between")
    async with open_workspace(tmp_path, hashing()) as workspace:
        async with workspace.transaction() as tx:
            await tx.execute("DELETE FROM documents WHERE ref_id > 20")
        found = await workspace.documents.find("zebra z007", "lesson")
        assert (found.method, found.hits[0].ref_id) == ("hashing-64", 7)
        await in_step(workspace, 20)


@pytest.mark.slow
async def test_processes_that_embed_at_once_store_each_vector_once(tmp_path):
    async with open_workspace(tmp_path) as workspace, workspace.transaction() as tx:
        for number in range(1, 301):
            await documents.put(tx, "lesson", number, f"zebra z{number:03d}")
    several = [program(tmp_path, "free") for _ in range(4)]
    assert [process.stdout.readline() for process in several] == ["ready\n"] * 4
    for process in several:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.stdout.read() for process in several] == ["done\n"] * 4
    assert [process.wait(60) for process in several] == [0] * 4
    async with open_workspace(tmp_path) as workspace:
        await in_step(workspace, 300)


@pytest.mark.slow
async def test_kill_after_kill_all_texts_and_vectors_end_in_step(tmp_path, hashing):
    """Killed at no chosen moment, five times, while it embeds."""
    async with open_workspace(tmp_path) as workspace, workspace.transaction() as tx:
        for number in range(1, 1_001):
            await documents.put(tx, "lesson", number, f"zebra z{number:03d}")
    stored = []
    for patience in (0.0, 0.01, 0.02, 0.03, 0.05):
        process = program(tmp_path, "free")
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        await asyncio.sleep(patience)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        async with open_workspace(tmp_path) as workspace:
            counts = await workspace.read.one(
                "SELECT (SELECT count(*) FROM vectors), (SELECT count(*) FROM unembedded), count(*) FROM embedders"
            )
            assert counts[0] + counts[1] == 1_000 * counts[2]
            stored.append(counts[0])
    assert stored == sorted(stored)
    async with open_workspace(tmp_path, hashing()) as workspace:
        await workspace.documents.catch_up()
        await in_step(workspace, 1_000)
