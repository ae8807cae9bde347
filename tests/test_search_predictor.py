"""A guess fitted on few networks ranks the others; rank correlations have their textbook values."""

import numpy as np
import pytest

from litepose.search.predictor import MAX_FITTED, fit_predictor, kendall, spearman
from litepose.search.space import SPACES

OURS = SPACES["ours"]


def made_up_accuracy(arch):
    """Return something that grows with size and widths, saturates, and punishes small kernels on large pictures."""
    size = arch["img_size"] / 512
    widths = sum(stage["channel"] * stage["num_blocks"] for stage in arch["backbone_setting"]) / 3000
    kernel = np.mean([stage["block_setting"][0][1] for stage in arch["backbone_setting"]]) / 7
    return 0.6 * (1 - np.exp(-2 * widths)) * size**0.5 - 0.2 * size * (1 - kernel)


def drawn(count, seed):
    rng = np.random.default_rng(seed)
    return [OURS.sample(rng) for _ in range(count)]


def test_forty_evaluated_networks_are_enough_to_rank_others():
    fitted, unseen = drawn(40, 0), drawn(200, 1)
    guess = fit_predictor(OURS, fitted, [made_up_accuracy(arch) for arch in fitted])
    truth = [made_up_accuracy(arch) for arch in unseen]
    assert spearman(guess(unseen), truth) > 0.85
    assert kendall(guess(unseen), truth) > 0.65


def test_more_networks_make_a_better_guess_than_few():
    unseen = drawn(200, 1)
    truth = [made_up_accuracy(arch) for arch in unseen]

    def quality(count):
        fitted = drawn(count, 0)
        return spearman(fit_predictor(OURS, fitted, [made_up_accuracy(arch) for arch in fitted])(unseen), truth)

    assert quality(160) > quality(40) > quality(8)


def test_what_is_left_out_is_guessed_as_by_a_fit_without_it():
    fitted = drawn(12, 2)
    values = [made_up_accuracy(arch) for arch in fitted]
    guess = fit_predictor(OURS, fitted, values)
    # The closed form holds scale, mean, length and ridge; so do the system without one row.
    kernel = guess.genes @ guess.genes.T / guess.genes.shape[1] + np.exp(
        -((guess.genes[:, None] - guess.genes[None]) ** 2).sum(-1) / (2 * guess.length**2 * guess.genes.shape[1])
    )
    centred = np.array(values) - guess.mean
    ridge = np.median((centred - kernel @ guess.weights) / guess.weights)
    rest = np.arange(1, 12)
    weights = np.linalg.solve(kernel[np.ix_(rest, rest)] + ridge * np.eye(11), centred[rest])
    assert guess.left_out[0] == pytest.approx(guess.mean + kernel[0, rest] @ weights, abs=1e-9)


def test_equal_accuracies_and_equal_genes_do_not_break_the_fit():
    arch = OURS.smallest()
    guess = fit_predictor(OURS, [arch] * 3, [0.0] * 3)
    assert guess([arch, OURS.largest()]) == pytest.approx([0, 0])


def test_of_very_many_networks_the_last_are_fitted():
    archs = drawn(MAX_FITTED + 5, 3)
    guess = fit_predictor(OURS, archs, [made_up_accuracy(arch) for arch in archs])
    assert len(guess.left_out) == len(guess.genes) == MAX_FITTED


def test_rank_correlations_know_order_and_ties():
    assert kendall([1, 2, 3, 4], [10, 20, 30, 40]) == spearman([1, 2, 3, 4], [1, 4, 9, 16]) == 1
    assert kendall([1, 2, 3], [3, 2, 1]) == spearman([1, 2, 3], [3, 2, 1]) == -1
    assert kendall([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(4 / 6)  # one of six pairs is turned
    assert spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)  # 1 - 6 * 2 / (4 * 15)
    assert kendall([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / np.sqrt(2 * 3))  # tau-b
    assert spearman([1, 1, 2], [1, 2, 3]) == pytest.approx(np.sqrt(3) / 2)
    assert np.isnan(kendall([1, 1], [1, 2])) and np.isnan(spearman([1, 1], [1, 2]))
