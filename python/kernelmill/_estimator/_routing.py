"""Models that choose a parameter by cross-validation: their folds, and who gets what of ``fit``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn import get_config
from sklearn.metrics import get_scorer
from sklearn.model_selection import check_cv
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing

from kernelmill._estimator._rows import Rows
from kernelmill._estimator._validation import check_folds


def is_routing() -> bool:
    """Whether scikit-learn routes metadata."""
    return bool(get_config()["enable_metadata_routing"])


def of_rows(options: dict[str, Any], n: int, some: np.ndarray) -> dict[str, Any]:
    """Options with the entries of some of n rows, where they have one for each."""

    def part(value: Any) -> Any:
        each = np.ndim(value) > 0 and len(value) == n
        return np.asarray(value)[some] if each else value

    return {name: part(value) for name, value in options.items()}


class CrossValidated:
    """What models with a `cv` share: splits, and scikit-learn's metadata routing.

    Attributes
    ----------
    _score_name : str or None
        The score where `scoring` is None; None for models whose score is not a choice.
    _weighs_score : bool or None
        Whether that score is given the weights of the rows where metadata are routed; None leaves
        the question to the caller, as scikit-learn does.
    _scoring_methods : tuple of str
        Methods that score.
    """

    cv: Any
    scoring: Any = None
    _score_name: ClassVar[str | None] = None
    _weighs_score: ClassVar[bool | None] = None
    _scoring_methods: ClassVar[tuple[str, ...]] = ("fit",)

    def get_metadata_routing(self):
        """Which arguments of ``fit`` the splitter and the scorer are given.

        Returns
        -------
        routing : MetadataRouter
            Of scikit-learn's metadata routing.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        split = MethodMapping().add(caller="fit", callee="split")
        # Folds that are given ask for nothing, and an iterator of them can be read only once.
        cv = [] if hasattr(self.cv, "__iter__") and not hasattr(self.cv, "split") else self.cv
        router.add(splitter=check_cv(cv), method_mapping=split)
        if self._score_name is not None:
            score = MethodMapping()
            for method in self._scoring_methods:
                score.add(caller=method, callee="score")
            router.add(scorer=self._requesting(), method_mapping=score)
        return router

    def _requesting(self) -> Any:
        """The scorer, with its requests."""
        if self.scoring is not None:
            return get_scorer(self.scoring)
        scorer = get_scorer(self._score_name)
        if is_routing() and self._weighs_score is not None:
            scorer.set_score_request(sample_weight=self._weighs_score)
        return scorer

    def _routed(
        self, method: str, weights: Any, params: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:  # fmt: skip
        """Arguments of the splitter and of the scorer; None for it where nothing is routed."""
        if is_routing():
            found = process_routing(self, method, sample_weight=weights, **params)
            return found.splitter.get("split", {}), found.get("scorer", {}).get("score", {})
        if params:
            raise ValueError(
                f"{type(self).__name__}: {method} must be given no {sorted(params)} unless "
                "metadata are routed (they are only supported if enable_metadata_routing=True, see "
                "sklearn.set_config)"
            )
        return {}, None

    def _splits(self, rows: Rows, y: Any, split: dict[str, Any], classifier: bool) -> list:
        """How rows are split."""
        return list(check_cv(self.cv, y, classifier=classifier).split(rows.X, y, **split))

    def _folds(self, rows: Rows, y: Any, split: dict[str, Any], classifier: bool = False) -> list:
        """The same, checked: each fold trains on rows with weight, and holds out some."""
        folds = self._splits(rows, y, split, classifier)
        check_folds(folds, rows.weight, rows.owner)
        return folds
