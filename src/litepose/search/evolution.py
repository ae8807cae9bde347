"""The most accurate networks within a budget, by evolution: two plain functions say how accurate and how costly one is.

Real et al. 2019, Guo et al. 2020; mit-han-lab/litepose@00b702d (search.py, lib/arch_search). As theirs: random networks
within the budget first; then, round by round, the best quarter of all seen become parents, half of the children are
mutants and half are crossed, and what is over the budget is drawn again. What differs:

- no network is evaluated twice, and none is in a generation twice; theirs evaluates duplicates again;
- the last generation counts; their best network is looked up at the start of a round, so never in the last children;
- crossover may take every gene from either parent; theirs takes input size and first width from the first always;
- where draws keep missing the budget, the last one is shrunk until it fits; theirs draws for ever;
- a fitted guess chooses which children are worth evaluating (`predictor`; None = as theirs, all of them);
- everything evaluated is kept, with its Pareto front.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from litepose.errors import ModelError, SettingError
from litepose.search.journal import Journal
from litepose.search.predictor import ArchPredictor, fit_predictor, kendall, spearman
from litepose.search.space import SearchSpace, arch_key

Arch = dict[str, Any]
Accuracy = Callable[[Mapping[str, Any]], float | Mapping[str, float]]
Cost = Callable[[Mapping[str, Any]], float]
Fit = Callable[[SearchSpace, Sequence[Arch], Sequence[float]], ArchPredictor]

TRIES = 50  # draws for one child before it is shrunk into the budget, or given up
POOL = 8  # candidates for each child that the predictor chooses
UNGUIDED = 0.25  # share of the children that it does not choose, so that it learns what it does not know
FEWEST_FITTED = 8


@dataclass(frozen=True)
class Evaluated:
    """One network that was looked at. more: what else its evaluation measured, by name."""

    arch: Arch
    accuracy: float
    cost: float
    generation: int
    more: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class SearchResult:
    """Everything that was evaluated, in that order. generations: a summary of each."""

    evaluated: tuple[Evaluated, ...]
    generations: tuple[Mapping[str, Any], ...]

    @property
    def best(self) -> Evaluated:
        """The most accurate; of equals the cheapest."""
        return ranked(self.evaluated)[0]

    @property
    def front(self) -> tuple[Evaluated, ...]:
        """Those that no other beats in accuracy at the same cost or less, from cheap to costly."""
        return pareto_front(self.evaluated)


@dataclass(frozen=True)
class Progress:
    """Where a search stands. new: evaluated by this process, not read from a journal. best: None before the first."""

    done: int
    total: int
    new: int
    generation: int
    best: Evaluated | None


def evolve(
    space: SearchSpace,
    accuracy: Accuracy,
    cost: Cost,
    *,
    budget: float,
    seed: int,
    population: int = 40,
    generations: int = 40,
    parents: float = 0.25,
    mutation: float = 0.1,
    predictor: Fit | None = fit_predictor,
    workers: int = 1,
    log: str | Path | None = None,
    resume: bool = False,
    about: Mapping[str, Any] | None = None,
    progress: Callable[[Progress], None] | None = None,
    format_cost: Callable[[float], str] = "{:.6g}".format,
) -> SearchResult:
    """Search for accurate networks that cost at most `budget`.

    accuracy: a number of an arch, or {"accuracy": number, and what else the log should hold}; called once for an arch.
    cost: a number of an arch, always the same one. generations: after the first, random one.
    parents: share of the population. mutation: probability for each gene. workers: processes; with several `accuracy`
        must be picklable. log: JSON lines by which a killed search goes on (`resume`), with more generations too.
    about: plain values that the results depend on, kept in the log and compared on resuming.
    The same arguments give the same result, however often it was interrupted and whatever the workers.
    Raises SettingError for impossible numbers and a budget below the smallest network, ModelError for an accuracy that
    is no number.
    """
    _check_numbers(population, generations, parents, mutation, workers)
    if cost(space.smallest()) > budget:
        raise SettingError(
            f"A budget of {format_cost(budget)} was asked; the smallest network of the search space {space.name!r} "
            f"costs {format_cost(cost(space.smallest()))}. Raise the budget to that at least."
        )
    settings = {
        "space": space.to_json(), "budget": budget, "seed": seed, "population": population, "parents": parents,
        "mutation": mutation, "predictor": predictor is not None, **(about or {}),
    }  # fmt: skip
    proposer = _Proposer(space, cost, budget, mutation, np.random.default_rng(seed))
    summaries = []
    with Journal(log, settings, resume=resume) as journal, _evaluator(accuracy, workers) as evaluate:
        search = _Search(journal, evaluate, cost, progress, total=population * (generations + 1))
        summaries.append(search.run(0, proposer.random(population), guess=None))
        for generation in range(1, generations + 1):
            best = [one.arch for one in ranked(search.evaluated)[: math.ceil(parents * population)]]
            guess = None
            if predictor is not None and len(search.evaluated) >= FEWEST_FITTED:
                guess = predictor(space, *search.fitted_on())
            children = proposer.children(best, population, guess)
            if not children:
                break  # every network within the budget is known
            summaries.append(search.run(generation, children, guess=guess))
    return SearchResult(tuple(search.evaluated), tuple(summaries))


def ranked(evaluated: Iterable[Evaluated]) -> list[Evaluated]:
    """Return the networks from best to worst: by accuracy, then by cost, then as they came."""
    return sorted(evaluated, key=lambda one: (-one.accuracy, one.cost))


def pareto_front(evaluated: Iterable[Evaluated]) -> tuple[Evaluated, ...]:
    """Return those that no other beats in accuracy at the same cost or less, from cheap to costly."""
    front: list[Evaluated] = []
    for one in sorted(evaluated, key=lambda one: (one.cost, -one.accuracy)):
        if not front or one.accuracy > front[-1].accuracy:
            front.append(one)
    return tuple(front)


class _Proposer:
    """Draws networks within the budget that were never drawn before."""

    def __init__(
        self, space: SearchSpace, cost: Cost, budget: float, mutation: float, rng: np.random.Generator
    ) -> None:
        self.space, self.cost, self.budget, self.mutation, self.rng = space, cost, budget, mutation, rng
        self.known: set[str] = set()

    def random(self, count: int) -> list[Arch]:
        """Return up to `count` random networks; fewer where there are no more."""
        return self._collect(count, lambda _: self.space.sample(self.rng), taken=self.known)

    def children(self, parents: Sequence[Arch], count: int, guess: ArchPredictor | None) -> list[Arch]:
        """Return up to `count` children, mutants and crossed in turn; with a guess, mostly what promises most."""

        def child(i: int) -> Arch:
            one, other = (parents[int(self.rng.integers(len(parents)))] for _ in range(2))
            if i % 2 == 0:
                return self.space.mutate(one, self.rng, probability=self.mutation)
            return self.space.cross(one, other, self.rng)

        if guess is None:
            return self._collect(count, child, taken=self.known)
        pool = self._collect(POOL * count, child, taken=set(self.known))
        if not pool:
            return []
        order = np.argsort(-guess(pool), kind="stable")
        guided = math.ceil((1 - UNGUIDED) * count)
        others = self.rng.permutation(order[guided:])[: count - guided]
        chosen = [pool[i] for i in (*order[:guided], *others)]
        self.known |= {arch_key(arch) for arch in chosen}
        return chosen

    def _collect(self, count: int, draw: Callable[[int], Arch], *, taken: set[str]) -> list[Arch]:
        """Return up to `count` networks that are not `taken`, and add them to it."""
        found = []
        for i in range(count):
            arch = self._fitting(lambda i=i: draw(i), taken) or self._fitting(  # type: ignore[misc]
                lambda: self.space.sample(self.rng), taken
            )
            if arch is not None:
                found.append(arch)
                taken.add(arch_key(arch))
        return found

    def _fitting(self, draw: Callable[[], Arch], taken: set[str]) -> Arch | None:
        """Return a new network within the budget; None where the draws give none."""
        too_costly = None
        for _ in range(TRIES):
            arch = draw()
            if arch_key(arch) in taken:
                continue
            if self.cost(arch) <= self.budget:
                return arch
            too_costly = arch
        while too_costly is not None:
            smaller = self.space.shrink(too_costly, self.rng)
            if arch_key(smaller) not in taken and self.cost(smaller) <= self.budget:
                return smaller
            too_costly = None if smaller == too_costly else smaller
        return None


class _Search:
    """Evaluates generations, keeps what came of them and says where it stands."""

    def __init__(
        self,
        journal: Journal,
        evaluate: Callable[[Sequence[Arch]], Iterator[Mapping[str, float]]],
        cost: Cost,
        progress: Callable[[Progress], None] | None,
        *,
        total: int,
    ) -> None:
        self.journal, self.evaluate, self.cost, self.progress, self.total = journal, evaluate, cost, progress, total
        self.evaluated: list[Evaluated] = []
        self.new = 0

    def fitted_on(self) -> tuple[list[Arch], list[float]]:
        """Return all archs and their accuracies."""
        return [one.arch for one in self.evaluated], [one.accuracy for one in self.evaluated]

    def run(self, generation: int, archs: Sequence[Arch], *, guess: ArchPredictor | None) -> Mapping[str, Any]:
        """Evaluate what the journal does not hold; return the summary of the generation."""
        fresh = self.evaluate([arch for arch in archs if self.journal.scores_of(arch) is None])
        first = len(self.evaluated)
        for arch in archs:
            scores, cost = self.journal.scores_of(arch), self.cost(arch)
            if scores is None:
                scores = dict(next(fresh))
                self.journal.add_arch(arch, scores, cost=cost, generation=generation)
                self.new += 1
            more = {name: value for name, value in scores.items() if name != "accuracy"}
            self.evaluated.append(Evaluated(arch, scores["accuracy"], cost, generation, more))
            self._say(generation)
        summary = self._summary(first, archs, guess)
        self.journal.add_generation(generation, summary)
        return {"generation": generation, **summary}

    def _say(self, generation: int) -> None:
        if self.progress is not None:
            best = ranked(self.evaluated)[0]
            self.progress(Progress(len(self.evaluated), self.total, self.new, generation, best))

    def _summary(self, first: int, archs: Sequence[Arch], guess: ArchPredictor | None) -> dict[str, Any]:
        best = ranked(self.evaluated)[0]
        accuracies = [one.accuracy for one in self.evaluated[first:]]
        summary: dict[str, Any] = {
            "evaluated": len(self.evaluated), "best_accuracy": best.accuracy, "best_cost": best.cost,
            "mean_accuracy": float(np.mean(accuracies)),
        }  # fmt: skip
        if guess is not None:
            before = [one.accuracy for one in self.evaluated[:first]][-len(guess.left_out) :]
            summary["predictor"] = {
                "kendall": kendall(guess(archs), accuracies),
                "spearman": spearman(guess(archs), accuracies),
                "left_out_kendall": kendall(guess.left_out, before),
                "left_out_spearman": spearman(guess.left_out, before),
            }
        return summary


@contextmanager
def _evaluator(accuracy: Accuracy, workers: int) -> Iterator[Callable[[Sequence[Arch]], Iterator[Mapping[str, float]]]]:
    """Yield a function that evaluates archs in order, lazily, in this process or in several."""
    if workers == 1:
        yield lambda archs: (_scores(accuracy, arch) for arch in archs)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start, initargs=(accuracy,))
    try:
        yield lambda archs: pool.map(_evaluate_here, archs)
    finally:
        pool.shutdown(cancel_futures=True)


_accuracy: list[Accuracy] = []  # of a worker process, set once when it starts


def _start(accuracy: Accuracy) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the search by its first process
    _accuracy[:] = [accuracy]


def _evaluate_here(arch: Arch) -> Mapping[str, float]:
    return _scores(_accuracy[0], arch)


def _scores(accuracy: Accuracy, arch: Arch) -> Mapping[str, float]:
    found = accuracy(arch)
    scores = dict(found) if isinstance(found, Mapping) else {"accuracy": float(found)}
    if not math.isfinite(scores["accuracy"]):
        raise ModelError(f"The accuracy of a network is {scores['accuracy']}; a number is needed. The arch: {arch}")
    return scores


def _check_numbers(population: int, generations: int, parents: float, mutation: float, workers: int) -> None:
    for name, value, fits, possible in (
        ("population", population, population >= 2, "2 or more"),
        ("generations", generations, generations >= 0, "0 or more"),
        ("parents", parents, 0 < parents <= 1, "above 0, up to 1"),
        ("mutation", mutation, 0 <= mutation <= 1, "0 to 1"),
        ("workers", workers, workers >= 1, "1 or more"),
    ):
        if not fits:
            raise SettingError(f"A search was asked for with {name} {value}; possible is {possible}.")
