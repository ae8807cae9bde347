"""Guessing the accuracy of a network from its genes, fitted on those evaluated so far; and how well two rankings agree.

Kernel ridge regression (Saunders et al. 1998) with a kernel of a linear part, for what wider and deeper bring, and a
gaussian part, for how choices work together. Strength and length are those with the least leave-one-out error, which
kernel ridge gives in closed form. The authors' search has no such guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from litepose.search.space import SearchSpace

RIDGES = tuple(10.0**power for power in range(-4, 2))
LENGTHS = (0.3, 1.0, 3.0)  # of the gaussian part, in standard deviations of a gene times the root of their number
MAX_FITTED = 500  # the latest so many are fitted: time grows with the cube


@dataclass(frozen=True)
class ArchPredictor:
    """A fitted guess; call it with archs.

    left_out: (n,) what each of the fitted archs would have been guessed without itself, in the order given.
    """

    space: SearchSpace
    genes: np.ndarray  # (n, G) of the fitted archs, standardised
    scale: tuple[np.ndarray, np.ndarray]  # mean and standard deviation of each gene
    weights: np.ndarray  # (n,)
    mean: float
    length: float
    left_out: np.ndarray

    def __call__(self, archs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the guessed accuracies, (len(archs),)."""
        genes = _standardised(_gene_table(self.space, archs), self.scale)
        return self.mean + _kernel(genes, self.genes, self.length) @ self.weights


def fit_predictor(space: SearchSpace, archs: Sequence[Mapping[str, Any]], accuracies: Sequence[float]) -> ArchPredictor:
    """Fit a guess on evaluated archs, at least two; of more than `MAX_FITTED` the last."""
    table = _gene_table(space, archs[-MAX_FITTED:])
    values = np.asarray(accuracies[-MAX_FITTED:], dtype=np.float64)
    deviation = table.std(axis=0)
    scale = (table.mean(axis=0), np.where(deviation > 0, deviation, 1.0))
    genes, mean = _standardised(table, scale), float(values.mean())
    best = None
    for length in LENGTHS:
        for error, weights, left_out in _ridge_fits(_kernel(genes, genes, length), values - mean):
            if best is None or error < best[0]:
                best = (error, length, weights, left_out)
    assert best is not None, "there are lengths and ridges"
    _, length, weights, left_out = best
    return ArchPredictor(space, genes, scale, weights, mean, length, mean + left_out)


def kendall(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> float:
    """Return Kendall's tau-b of two rankings, which allows for ties; NaN where one of them is constant."""
    a, b = (np.sign(np.subtract.outer(values, values)) for values in (np.asarray(one), np.asarray(other)))
    size = np.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum() / size) if size > 0 else float("nan")


def spearman(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; NaN where one ranking is constant."""
    a, b = (_ranks(np.asarray(values)) for values in (one, other))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / size) if size > 0 else float("nan")


def _gene_table(space: SearchSpace, archs: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([space.genes_of(arch) for arch in archs], dtype=np.float64).reshape(len(archs), -1)


def _standardised(table: np.ndarray, scale: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return (table - scale[0]) / scale[1]


def _kernel(a: np.ndarray, b: np.ndarray, length: float) -> np.ndarray:
    """Return (len(a), len(b)): the products of genes, averaged, plus a gaussian of their distance."""
    num_genes = a.shape[1]
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :] - 2 * (a @ b.T)
    return a @ b.T / num_genes + np.exp(-np.maximum(squares, 0) / (2 * length**2 * num_genes))


def _ridge_fits(kernel: np.ndarray, values: np.ndarray) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Return (leave-one-out error, weights, leave-one-out guesses) of each ridge; one decomposition serves all."""
    eigenvalues, vectors = np.linalg.eigh(kernel)
    turned, fits = vectors.T @ values, []
    for ridge in RIDGES:
        inverse = 1 / (np.maximum(eigenvalues, 0) + ridge * len(values) ** 0.5)
        weights = vectors @ (inverse * turned)
        left_out = values - weights / (vectors**2 @ inverse)  # Rasmussen & Williams 2006, eq. 5.12
        fits.append((float(((values - left_out) ** 2).mean()), weights, left_out))
    return fits


def _ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[places]
