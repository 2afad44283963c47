"""The words of texts as the text index sees them: without accents and in one grammatical form."""

from __future__ import annotations

from collections.abc import Sequence

from ..connection import Driver

TOKENIZER = "porter unicode61 remove_diacritics 2"
"""That of `documents_fts` (0006_search.sql)."""


def stemmed_words(driver: Driver, texts: Sequence[str]) -> list[frozenset[str]]:
    """The distinct words of each text. SQLite's own tokenizer makes them, in a database in memory."""
    connection = driver.module.connect(":memory:", isolation_level=None)
    try:
        connection.execute(f"CREATE VIRTUAL TABLE words USING fts5 (text, content = '', tokenize = '{TOKENIZER}')")
        connection.execute("CREATE VIRTUAL TABLE seen USING fts5vocab (words, instance)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", list(enumerate(texts)))
        found: list[set[str]] = [set() for _ in texts]
        for row in connection.execute("SELECT doc, term FROM seen"):
            found[int(row[0])].add(str(row[1]))
        return [frozenset(words) for words in found]
    finally:
        connection.close()
