"""The one loop: starts, the best of them, callbacks, Ctrl-C, and what a fit keeps of it."""

import operator

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Step, climb
from kernelmill._estimator._progress import QUIET


class Watcher:
    """A progress that listens, stops where it is told to, and keeps what it hears."""

    listening = True

    def __init__(self, stop_at=None, skip_after=None):
        self.stop_at, self.skip_after = stop_at, skip_after
        self.runs, self.steps, self.ends, self.fits = 0, [], [], []

    def begin_run(self):
        self.runs += 1

    def step(self, objective, state):
        self.steps.append((objective() if callable(objective) else objective, state()))
        return len(self.steps) == self.stop_at

    def end_run(self, message, *args, objective, state):
        self.ends.append((message % args, objective, state()))
        return len(self.ends) == self.skip_after

    def end_fit(self, state):
        self.fits.append(state())


def attributes(state, n_iter):
    return {"state_": state, "n_iter_": n_iter}


def towards(limits, most_seen=None):
    """Starts at 0 that climb by one to the limit of their number."""
    number = [-1]

    def begin(start):
        number[0] = start
        return 0

    def advance(state, most):
        if most_seen is not None:
            most_seen.append(most)
        here = state + 1
        return Step(here, float(here), here >= limits[number[0]])

    return begin, advance


def run(limits, progress=QUIET, **options):
    options = {"max_iter": 100, "attributes": attributes, "starts": len(limits), **options}
    return climb(progress, *towards(limits), **options)


def test_the_best_start_wins():
    best = run([3, 7, 5])
    assert (best.state, best.objective, best.n_iter, best.converged) == (7, 7.0, 7, True)
    assert best.history == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    least = run([3, 7, 2], better=operator.lt)
    assert (least.state, least.n_iter) == (2, 2)


def test_the_first_of_equal_starts_wins():
    def finish(run):
        finished.append(run)
        return run._replace(objective=1.0, state=len(finished))

    finished = []
    assert run([2, 4, 3], finish=finish).state == 1
    assert [r.n_iter for r in finished] == [2, 4, 3]


def test_a_start_that_never_converges_ends_and_says_so():
    best = run([1000], max_iter=6)
    assert (best.n_iter, best.converged, best.state) == (6, False, 6)


def test_quiet_starts_take_many_iterations_at_a_time():
    seen = []
    begin, _ = towards([0])

    def advance(state, most):
        seen.append(most)
        return Step(state + 4, None, state + 4 >= 8, 4)

    best = climb(QUIET, begin, advance, max_iter=20, attributes=attributes)
    assert seen == [20, 16]
    assert (best.n_iter, best.history) == (8, [])
    assert np.isnan(best.objective)
    seen.clear()
    climb(Watcher(), begin, advance, max_iter=20, attributes=attributes)
    assert seen == [1, 1]  # one at a time where somebody watches


def test_callbacks_hear_everything_and_get_usable_models():
    watcher = Watcher()
    best = run([2, 3], watcher)
    assert watcher.runs == 2
    assert [objective for objective, _ in watcher.steps] == [1.0, 2.0, 1.0, 2.0, 3.0]
    assert watcher.steps[-1][1] == {"state_": 3, "n_iter_": 3}
    assert [end[0] for end in watcher.ends] == [
        "run 1 of 2: objective 2 after 2 iterations",
        "run 2 of 2: objective 3 after 3 iterations",
    ]
    assert watcher.fits == [{"state_": best.state, "n_iter_": best.n_iter}]


def test_callbacks_stop_a_run_and_all_that_follow():
    watcher = Watcher(stop_at=4)
    best = run([2, 9, 9], watcher)
    assert watcher.runs == 2
    assert (best.state, best.converged) == (2, True)  # the first of two equal ones
    watcher = Watcher(skip_after=1)
    assert run([2, 9], watcher).state == 2
    assert watcher.runs == 1


def test_lazy_objectives_are_not_asked_without_a_listener():
    def advance(state, most):
        return Step(state + 1, lambda: pytest.fail("nobody listens"), state + 1 == 3)

    best = climb(QUIET, lambda number: 0, advance, max_iter=9, attributes=attributes)
    assert best.history == []


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (0, None),  # nothing yet
        (1, {"state_": 0, "n_iter_": 0}),
        (3, {"state_": 2, "n_iter_": 2}),
        (6, {"state_": 4, "n_iter_": 4}),  # in the second start: the finished one is kept
    ],
)
def test_ctrl_c_takes_the_state_along(at, expected):
    begin, step = towards([4, 9])
    calls = [0]

    def begin_or_not(number):
        if at == 0:
            raise KeyboardInterrupt
        return begin(number)

    def advance(state, most):
        calls[0] += 1
        if calls[0] == at:
            raise KeyboardInterrupt
        return step(state, most)

    with pytest.raises(KeyboardInterrupt) as caught:
        climb(QUIET, begin_or_not, advance, max_iter=99, attributes=attributes, starts=2)
    assert getattr(caught.value, "attributes", None) == expected


def test_other_errors_take_nothing_along():
    def advance(state, most):
        raise MemoryError

    with pytest.raises(MemoryError) as caught:
        climb(QUIET, lambda number: 0, advance, max_iter=9, attributes=attributes)
    assert not hasattr(caught.value, "attributes")


# --- what a fit keeps -----------------------------------------------------------------------------


class Climber(BaseEstimator):
    _parameters = {"warm_start": rule.boolean()}  # noqa: RUF012

    def __init__(self, warm_start=False):
        self.warm_start = warm_start

    @fitting
    def fit(self, X, y=None, error=None, at=3):
        """Count to 5, from where it stopped."""
        self.n_features_in_ = 2
        self.scratch_ = "left over"
        first = getattr(self, "state_", 0) if self.warm_start else 0

        def advance(state, most):
            if error is not None and state == at:
                raise error
            return Step(state + 1, float(state), state + 1 == 5)

        best = climb(QUIET, lambda number: first, advance, max_iter=9, attributes=attributes)
        del self.scratch_
        self.__dict__.update(attributes(best.state, best.n_iter))
        return self


def test_an_interrupted_fit_is_kept_where_it_can_go_on():
    model = Climber(warm_start=True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(None, error=KeyboardInterrupt())
    assert vars(model) == {
        "warm_start": True,
        "n_features_in_": 2,
        "state_": 3,
        "n_iter_": 3,
        "interrupted_": True,
    }
    model.fit(None)
    assert (model.state_, model.n_iter_) == (5, 2)
    assert not hasattr(model, "interrupted_")


@pytest.mark.parametrize(
    ("warm_start", "error"),
    [(False, KeyboardInterrupt()), (True, ValueError()), (True, SystemExit())],
)
def test_any_other_fit_leaves_the_model_as_it_was(warm_start, error):
    model = Climber(warm_start=warm_start)
    with pytest.raises(type(error)):
        model.fit(None, error=error)
    assert vars(model) == {"warm_start": warm_start}
