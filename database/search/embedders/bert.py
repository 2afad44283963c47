"""The forward pass of a BERT sentence encoder (Devlin et al. 2018, arXiv:1810.04805) in numpy.

Only what a sentence encoder such as all-MiniLM-L6-v2 needs: no dropout, no pooler, no second segment. It imports numpy,
so it is itself imported on first use only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

NORM_EPSILON = np.float32(1e-12)
MASKED = np.float32(-1e9)
"""Added to the attention score of padding, whose weight after softmax is then exactly zero."""
GELU_ROWS = 32
"""Rows of inner activations that stay in a CPU's second-level cache through some twenty passes over them."""

# erf(x) = x P(x^2) / Q(x^2) on [-4, 4], beyond which it is 1 in float32; absolute error below 5e-7. The coefficients of
# Eigen (unsupported/SpecialFunctions), highest power first. It spares the import of scipy and is four times as fast.
ERF_P = (
    *(-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05),
    *(-7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02),
)
ERF_Q = (
    *(-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03),
    *(-1.42647390514189e-02,),
)


class SentenceEncoder:
    """Mean-pooled, L2-normalised last hidden states.

    Args:
        weights: float32 tensors by their names in a Hugging Face `BertModel`.
        heads: attention heads of each layer.
    """

    def __init__(self, weights: Mapping[str, Floats], heads: int) -> None:
        self._weights = weights
        self._heads = heads
        self._layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))

    def __call__(self, ids: NDArray[np.int64], mask: Floats) -> Floats:
        """Unit vectors, shape (batch, hidden).

        Args:
            ids: word pieces, shape (batch, length).
            mask: 1 for a word piece and 0 for padding, same shape.
        """
        hidden = self._embed(ids)
        padding = ((1 - mask) * MASKED)[:, None, None, :]
        for number in range(self._layers):
            hidden = self._layer(f"encoder.layer.{number}", hidden, padding)
        sums = (mask[:, None, :] @ hidden)[:, 0, :]
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)

    def _embed(self, ids: NDArray[np.int64]) -> Floats:
        weights = self._weights
        embedded = weights["embeddings.word_embeddings.weight"][ids]
        embedded += weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        embedded += weights["embeddings.token_type_embeddings.weight"][0]
        return self._norm("embeddings.LayerNorm", embedded)

    def _layer(self, name: str, hidden: Floats, padding: Floats) -> Floats:
        attended = self._linear(f"{name}.attention.output.dense", self._attention(name, hidden, padding))
        hidden = self._norm(f"{name}.attention.output.LayerNorm", attended + hidden)
        inner = gelu(self._linear(f"{name}.intermediate.dense", hidden))
        return self._norm(f"{name}.output.LayerNorm", self._linear(f"{name}.output.dense", inner) + hidden)

    def _attention(self, name: str, hidden: Floats, padding: Floats) -> Floats:
        batch, length, width = hidden.shape
        query, key, value = (
            self._linear(f"{name}.attention.self.{part}", hidden)
            .reshape(batch, length, self._heads, width // self._heads)
            .transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2)
        scores *= np.float32((width // self._heads) ** -0.5)
        scores += padding
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        return (scores @ value).transpose(0, 2, 1, 3).reshape(batch, length, width)

    def _linear(self, name: str, x: Floats) -> Floats:
        product = x.reshape(-1, x.shape[-1]) @ self._weights[f"{name}.weight"].T
        product += self._weights[f"{name}.bias"]
        return product.reshape(*x.shape[:-1], -1)

    def _norm(self, name: str, x: Floats) -> Floats:
        x -= x.mean(axis=-1, keepdims=True)
        x /= np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + NORM_EPSILON)
        x *= self._weights[f"{name}.weight"]
        x += self._weights[f"{name}.bias"]
        return x


def gelu(x: Floats) -> Floats:
    """x Phi(x) in place, by the error function and not its tanh approximation (arXiv:1606.08415)."""
    rows = x.reshape(-1, x.shape[-1])
    for start in range(0, len(rows), GELU_ROWS):
        block = rows[start : start + GELU_ROWS]
        phi = erf(block * np.float32(0.5**0.5))
        phi += 1
        phi *= np.float32(0.5)
        block *= phi
    return rows.reshape(x.shape)


def erf(x: Floats) -> Floats:
    """The error function, to 5e-7."""
    x = np.clip(x, -4, 4)
    square = x * x
    result = _polynomial(ERF_P, square)
    result *= x
    result /= _polynomial(ERF_Q, square)
    return result


def _polynomial(coefficients: Sequence[float], x: Floats) -> Floats:
    result = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        result *= x
        result += np.float32(coefficient)
    return result
