"""The evolution on made-up accuracies and costs: it finds the known best, repeats, resumes, counts."""

import dataclasses
import json

import numpy as np
import pytest

from litepose.errors import ModelError, SettingError
from litepose.search.evolution import Evaluated, evolve, pareto_front
from litepose.search.journal import read_journal
from litepose.search.space import SPACES, SearchSpace, arch_key, every_arch

SMALL = SPACES["small"]
TINY = SearchSpace("tiny", (64, 128, 192), (8, 16), ((8, 16),) * 3, ((8,), (8,), (8, 16), (8, 16)), ((1,),) * 4)
NUMBERS = {"budget": 40.0, "seed": 5, "population": 12, "generations": 6}


def made_up_cost(arch):
    """Return something like MACs in millions."""
    depth = sum(stage["num_blocks"] * stage["channel"] for stage in arch["backbone_setting"])
    return (arch["img_size"] / 128) ** 2 * (depth + sum(arch["deconv_setting"]) + arch["input_channel"]) / 40


def made_up_accuracy(arch):
    """Return something with a best input size of 160 and a bonus that grows slower than the cost."""
    depth = sum(stage["num_blocks"] * stage["channel"] for stage in arch["backbone_setting"])
    return np.sqrt(depth) / 60 + 0.1 * arch["deconv_setting"][0] / 32 - abs(arch["img_size"] - 160) / 400


class Counting:
    """An accuracy that knows how often it was asked, and may be killed."""

    def __init__(self, killed_at=None):
        self.keys, self.killed_at = [], killed_at

    def __call__(self, arch):
        if len(self.keys) == self.killed_at:
            raise KeyboardInterrupt
        self.keys.append(arch_key(arch))
        return {"accuracy": made_up_accuracy(arch), "OKS": 0.5}


def search(accuracy=made_up_accuracy, space=SMALL, **changes):
    return evolve(space, accuracy, made_up_cost, **{**NUMBERS, **changes})


def best_possible(space, budget):
    return max(made_up_accuracy(arch) for arch in every_arch(space) if made_up_cost(arch) <= budget)


@pytest.mark.parametrize("predictor", [True, False])
def test_the_best_network_of_a_small_space_is_found(predictor):
    options = {} if predictor else {"predictor": None}
    result = search(space=TINY, budget=3.0, generations=8, **options)
    assert result.best.accuracy == pytest.approx(best_possible(TINY, 3.0))


def test_a_large_space_is_searched_to_nearly_its_best():
    space = dataclasses.replace(SMALL, depths=((2, 6), (4, 8), (4, 10), (4, 10)))
    found = search(space=space, population=20, generations=15).best.accuracy
    drawn = np.random.default_rng(0)
    archs = [arch for arch in (space.sample(drawn) for _ in range(320)) if made_up_cost(arch) <= 40]
    at_random = max(made_up_accuracy(arch) for arch in archs)
    # Size, deconvolution and depth decide alone, so the best is at 160 px, 32 channels, as deep as the budget allows.
    bound = best_depth(space, 40.0)
    assert found > at_random
    assert found == pytest.approx(bound, rel=0.01)


def best_depth(space, budget):
    """Return the best accuracy by going through stages only, the other genes at their best."""
    best = 0.0
    for size in space.input_sizes:
        for genes in np.ndindex(*(len(c) * len(d) for c, d in zip(space.stage_channels, space.depths, strict=True))):
            arch = space.smallest() | {"img_size": size, "deconv_setting": [32, 16, 16]}
            values = list(space.genes_of(arch))
            for i, gene in enumerate(genes):
                depths = space.depths[i]
                values[5 + 4 * i] = space.stage_channels[i][gene // len(depths)]
                values[6 + 4 * i] = depths[gene % len(depths)]
            arch = space.arch_of(values)
            if made_up_cost(arch) <= budget:
                best = max(best, made_up_accuracy(arch))
    return best


def test_everything_evaluated_is_within_the_budget_and_evaluated_once():
    accuracy = Counting()
    result = search(accuracy)
    assert len(accuracy.keys) == len(set(accuracy.keys)) == len(result.evaluated) == 12 * 7
    assert max(one.cost for one in result.evaluated) <= 40
    assert result.evaluated[0].more == {"OKS": 0.5}


def test_the_same_seed_gives_the_same_search_and_another_one_another():
    first, second, other = search(), search(), search(seed=6)
    assert first == second
    assert first.evaluated != other.evaluated


def test_children_of_the_last_generation_count():
    result = search(generations=1, seed=3)
    assert {one.generation for one in result.evaluated} == {0, 1}
    assert result.best.accuracy == max(one.accuracy for one in result.evaluated)
    assert result.best.generation == 1


@pytest.mark.parametrize("killed_at", [0, 5, 12, 13, 40, 83])
def test_a_killed_search_goes_on_and_ends_as_an_uninterrupted_one(tmp_path, killed_at):
    whole = search(Counting(), log=tmp_path / "whole.jsonl")
    with pytest.raises(KeyboardInterrupt):
        search(Counting(killed_at), log=tmp_path / "log.jsonl")
    rest = Counting()
    assert search(rest, log=tmp_path / "log.jsonl", resume=True) == whole
    assert len(rest.keys) == 84 - killed_at
    assert (tmp_path / "log.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.parametrize("cut", [1, 7, 200, 1000])
def test_a_log_that_was_cut_in_the_middle_of_a_line_is_gone_on_with(tmp_path, cut):
    log = tmp_path / "log.jsonl"
    whole = search(log=log)
    content = log.read_bytes()
    log.write_bytes(content[:-cut])
    assert search(log=log, resume=True) == whole
    assert log.read_bytes() == content


def test_a_finished_search_can_be_given_more_generations(tmp_path):
    search(log=tmp_path / "log.jsonl", generations=2)
    rest = Counting()
    longer = search(rest, log=tmp_path / "log.jsonl", resume=True)
    assert [one.arch for one in longer.evaluated] == [one.arch for one in search().evaluated]
    assert len(rest.keys) == 12 * 4


def test_several_processes_find_the_same(tmp_path):
    whole = search(log=tmp_path / "one.jsonl", population=6, generations=2)
    assert search(log=tmp_path / "two.jsonl", population=6, generations=2, workers=2) == whole
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_a_log_of_another_search_is_refused(tmp_path):
    log = tmp_path / "log.jsonl"
    search(log=log, generations=0)
    with pytest.raises(SettingError, match="holds a search"):
        search(log=log)
    with pytest.raises(SettingError, match=r"budget: 40\.0 there, 30\.0 asked"):
        search(log=log, resume=True, budget=30.0)
    with pytest.raises(SettingError, match="weights: None there, 'abc' asked"):
        search(log=log, resume=True, about={"weights": "abc"})
    with pytest.raises(SettingError, match="space: 'small' there, 'tiny' asked"):
        search(log=log, resume=True, space=TINY)
    for text in ('{"kind": "epoch"}\n', "my notes\n"):
        (tmp_path / "notes.jsonl").write_text(text)
        with pytest.raises(SettingError, match="no journal of a search"):
            search(log=tmp_path / "notes.jsonl", resume=True)
        assert (tmp_path / "notes.jsonl").read_text() == text


def test_the_log_holds_each_network_each_generation_and_how_well_the_predictor_ranks(tmp_path):
    search(log=tmp_path / "log.jsonl")
    records = read_journal(tmp_path / "log.jsonl")
    assert [record["kind"] for record in records[:14]] == ["search"] + ["arch"] * 12 + ["generation"]
    assert records[0]["space"] == json.loads(json.dumps(SMALL.to_json()))
    generations = [record for record in records if record["kind"] == "generation"]
    assert [one["evaluated"] for one in generations] == [12 * n for n in range(1, 8)]
    assert "predictor" not in generations[0]
    assert generations[-1]["predictor"]["left_out_spearman"] > 0.9


def test_a_predictor_spends_the_evaluations_better():
    """On the mean of several seeds; a single search may be lucky."""
    short = {"generations": 3, "population": 8}
    guided = np.mean([search(seed=seed, **short).best.accuracy for seed in range(12)])
    unguided = np.mean([search(seed=seed, predictor=None, **short).best.accuracy for seed in range(12)])
    assert guided > unguided + 0.005


def test_a_space_smaller_than_the_population_is_evaluated_whole():
    space = SearchSpace("two", (64, 128), (8,), ((8,),) * 3, ((8,),) * 4, ((1,),) * 4)
    result = search(space=space, generations=3)
    assert len(result.evaluated) == 2
    assert len(result.generations) == 1


def test_a_budget_that_few_networks_meet_still_fills_the_generations():
    budget = made_up_cost(SMALL.smallest()) * 1.4
    result = search(budget=budget)
    assert len(result.evaluated) == 84
    assert max(one.cost for one in result.evaluated) <= budget


def test_a_budget_below_the_smallest_network_is_refused_with_what_that_costs():
    with pytest.raises(SettingError, match=r"budget of 1 was asked; the smallest network .*'small' costs 9\.8"):
        search(budget=1.0)
    with pytest.raises(SettingError, match=r"costs 9\.8 M"):
        search(budget=1.0, format_cost="{:.1f} M".format)


@pytest.mark.parametrize(
    "changes", [{"population": 1}, {"generations": -1}, {"parents": 0}, {"mutation": 1.5}, {"workers": 0}]
)
def test_impossible_numbers_are_refused(changes):
    name, value = next(iter(changes.items()))
    with pytest.raises(SettingError, match=f"with {name} {value}; possible is"):
        search(**changes)


def test_an_accuracy_that_is_no_number_is_refused():
    with pytest.raises(ModelError, match="accuracy of a network is nan"):
        search(lambda arch: float("nan"))


def test_the_front_holds_what_nothing_cheaper_beats():
    ones = [Evaluated({"n": n}, accuracy, cost, 0) for n, (accuracy, cost) in enumerate(
        [(0.5, 3), (0.4, 1), (0.4, 2), (0.6, 5), (0.5, 4), (0.3, 1)])]  # fmt: skip
    assert [one.arch["n"] for one in pareto_front(ones)] == [1, 0, 3]
