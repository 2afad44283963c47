"""MiniLM in numpy: the vectors of sentence-transformers, whatever stands beside a text in its batch."""

import asyncio
import hashlib
import json
import math
import os
import random
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from asi_evolve.database.search.embedders.minilm import MAX_CHARACTERS, MiniLM

pytestmark = pytest.mark.anyio

SENTENCES = (
    "the loss diverged after a warm restart because weight decay was too high for embeddings",
    "so we lower the learning rate and clip gradients before attention layers normalise hidden states",
)
WORDS = " ".join(SENTENCES).split()
TEXTS = [
    *("", " ", "\n\t", ".", "a", "0", "Muon", "AdamW beats SGD.", "Does cosine decay help on small models?"),
    *(" ".join(random.Random(count).choices(WORDS, k=count)) for count in (2, 5, 10, 17, 33, 64, 100, 128, 200, 252)),
    *(" ".join(random.Random(count).choices(WORDS, k=count)) for count in (253, 254, 255, 256, 257, 300, 1000, 5000)),
    *("x" * 99, "x" * 101, "x" * 5000, "antidisestablishmentarianism " * 80, "word" * 60 + " end"),
    *("naïve café Straße", "NAÏVE CAFÉ STRASSE", "東京で深層学習を学ぶ", "Привет, мир!", "مرحبا بالعالم", "नमस्ते दुनिया"),
    *(
        "🎉🚀 great result 🎉",
        "e\u0301 against \u00e9",
        "zero\u200bwidth\ufeff",
        "tab\tand\x00nul\x07bell",
        "½ ² ﬁ Ⅳ ™",
    ),
    *("[CLS] and [SEP] and [MASK] and [PAD]", "##ing ##ed", "https://arxiv.org/abs/2406.06484?x=1&y=2#top"),
    "def attention(q, k, v):\n    scores = q @ k.T / math.sqrt(q.shape[-1])\n    return softmax(scores) @ v\n",
    '{"loss": [1.5, 2.25e-3, -0.0], "name": "run_01", "ok": true}',
    "$\\sum_{i=1}^{n} \\frac{\\partial L}{\\partial w_i}$ converges as $n \\to \\infty$",
    'Traceback (most recent call last):\n  File "a.py", line 3\nValueError: shapes (3,4) and (5,) not aligned',
]

REFERENCE = """
import json, sys
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True)
print(json.dumps(model.encode(json.load(sys.stdin)).tolist()))
"""


@pytest.fixture(scope="module")
def minilm(published):
    return MiniLM(published)


def off(one, other):
    """The largest difference of any component of any vector."""
    assert len(one) == len(other)
    return max(abs(a - b) for u, v in zip(one, other, strict=True) for a, b in zip(u, v, strict=True))


def as_sentence_transformers_wants_it(folder, published):
    """The published configuration beside the very same weights."""
    (folder / "1_Pooling").mkdir(parents=True)
    kinds = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    files = {
        "config.json": {
            "architectures": ["BertModel"],
            "hidden_act": "gelu",
            "hidden_size": 384,
            "intermediate_size": 1536,
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": 512,
            "model_type": "bert",
            "num_attention_heads": 12,
            "num_hidden_layers": 6,
            "type_vocab_size": 2,
            "vocab_size": 30522,
        },
        "modules.json": [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for index, (kind, path) in enumerate(kinds)
        ],
        "sentence_bert_config.json": {"max_seq_length": 256, "do_lower_case": False},
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512},
        "1_Pooling/config.json": {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).symlink_to(published / name)
    return folder


def recorded():
    """What sentence-transformers 6.2.0 on torch 2.13.0 gave for the texts: 1.4 GB that not every test run needs."""
    with np.load(Path(__file__).parent / "sentence_transformers.npz") as file:
        assert str(file["texts"]) == hashlib.sha256(json.dumps(TEXTS).encode()).hexdigest(), "record them again"
        return file["vectors"].tolist()


def test_the_vectors_are_those_of_sentence_transformers(minilm):
    assert len(TEXTS) >= 50
    assert off(asyncio.run(minilm.encode_documents(TEXTS)), recorded()) < 1e-5


@pytest.mark.slow
@pytest.mark.skipif(find_spec("sentence_transformers") is None, reason="needs sentence-transformers (extra equality)")
def test_what_was_recorded_is_what_sentence_transformers_gives(published, tmp_path):
    folder = as_sentence_transformers_wants_it(tmp_path / "model", published)
    reference = subprocess.run(
        [sys.executable, "-c", REFERENCE, str(folder)],
        input=json.dumps(TEXTS),
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert reference.returncode == 0, reference.stderr
    assert off(recorded(), json.loads(reference.stdout)) < 1e-6


async def test_neither_the_batch_nor_the_order_changes_a_vector(minilm):
    texts = [text[:600] for text in TEXTS]
    together = await minilm.encode_documents(texts)
    alone = [(await minilm.encode_documents([text]))[0] for text in texts]
    order = random.Random(1).sample(range(len(texts)), len(texts))
    shuffled = await minilm.encode_documents([texts[index] for index in order])
    assert off(together, alone) < 1e-6
    assert off([together[index] for index in order], shuffled) < 1e-6
    assert await minilm.encode_queries(TEXTS[:5]) == await minilm.encode_documents(TEXTS[:5])


async def test_every_vector_has_length_one_and_384_numbers(minilm):
    assert (minilm.dimension, minilm.fingerprint) == (384, "minilm/all-MiniLM-L6-v2@1110a243")
    for vector in await minilm.encode_documents(TEXTS[::3]):
        assert len(vector) == 384
        assert math.hypot(*vector) == pytest.approx(1.0, abs=1e-5)
    assert await minilm.encode_documents([]) == []


async def test_texts_that_mean_the_same_are_near(minilm):
    query, *found = await minilm.encode_documents(
        [
            "The training run blew up",
            "Gradients exploded and the loss became NaN",
            "A recipe for apple pie",
        ]
    )
    near, far = (sum(a * b for a, b in zip(query, vector, strict=True)) for vector in found)
    assert near > far + 0.1


async def test_a_text_that_is_no_unicode_or_has_a_million_characters_is_embedded(minilm):
    lone, clean, huge, cut = await minilm.encode_documents(
        ["lone \ud800 surrogate", "lone ? surrogate", "word " * 300_000, ("word " * 300_000)[:MAX_CHARACTERS]]
    )
    assert lone == pytest.approx(clean, abs=1e-6)
    assert huge == pytest.approx(cut, abs=1e-6)


async def test_it_works_on_one_thread_and_gives_the_others_back(minilm):
    from threadpoolctl import threadpool_info

    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    await minilm.prepare()
    before, seen, ended = threads(), [], threading.Event()

    def watch():
        while not ended.is_set():
            seen.append(threads())
            ended.wait(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        await asyncio.gather(*(minilm.encode_documents(TEXTS[:16]) for _ in range(3)))
    finally:
        ended.set()
        watcher.join()
    assert [1] * len(before) in seen
    assert threads() == before


async def test_the_loop_goes_on_while_it_loads_and_thinks(published):
    embedder, turns = MiniLM(published), 0
    working = asyncio.create_task(embedder.encode_documents(TEXTS[:20]))
    while not working.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert len(working.result()) == 20
    assert turns > 10


def test_the_error_function_is_that_of_the_standard_library():
    import numpy as np
    from asi_evolve.database.search.embedders.bert import erf

    x = np.linspace(-8, 8, 20_001, dtype=np.float32)
    assert np.abs(erf(x) - [math.erf(value) for value in x.tolist()]).max() < 5e-7
