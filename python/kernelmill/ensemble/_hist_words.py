"""Text that the docstrings of histogram boosting share."""

from __future__ import annotations

from kernelmill.tree._words import WORDS as _TREES

WORDS = _TREES.extended(arguments={"X": ("array-like or frame of shape (n, d)", "Rows.")})
PARAMETERS = """learning_rate : float, default=0.1
        Factor of the values of leaves.
    max_iter : int, default=100
        Most rounds: trees, or trees for each class.
    max_leaf_nodes : int or None, default=31
        Most leaves of a tree: the leaf whose split gains most is split first.
    max_depth : int or None, default=None
        Most comparisons to a leaf.
    min_samples_leaf : int, default=20
        Fewest rows of a leaf.
    l2_regularization : float, default=0.0
        Penalty of the squares of the values of leaves.
    l1_regularization : float, default=0.0
        Penalty of the sizes of the values of leaves.
    min_gain_to_split : float, default=0.0
        A split must lower the objective by more.
    max_features : float, default=1.0
        Share of the features that a node looks at, drawn anew.
    max_bins : int, default=255
        Most bins of a feature, from 2 to 255; missing values have one of their own.
    categorical_features : {{"from_dtype"}}, array-like or None, default="from_dtype"
        Positions, names or a mask of the categorical features; ``"from_dtype"`` takes the
        categorical columns of frames. Levels are known by name: a frame whose categories come in
        another order means the same.
    monotonic_cst : array-like of shape (d,), dict or None, default=None
        1 where predictions must not fall with the feature, -1 where they must not rise, 0 for no
        constraint{binary}. A dict goes by column names.
    interaction_cst : {{"pairwise", "no_interactions"}}, list of sets or None, default=None
        Groups of features that may be split below each other; features not listed are a group.
    warm_start : bool, default=False
        Go on from the trees of the last fit, with its bins, up to ``max_iter``.
    early_stopping : {{"auto"}} or bool, default="auto"
        Whether to stop when a score no longer rises, and to keep the rounds up to its best;
        ``"auto"`` does so with more than 10 000 rows, or where rows to validate with are given.
    scoring : str, callable or None, default="loss"
        The score: the negative loss, or a metric.
    validation_fraction : int, float or None, default=0.1
        Rows, or their share, to validate with; None scores the training rows.
    n_iter_no_change : int, default=10
        Rounds without a gain of more than ``tol`` after which to stop.
    tol : float, default=1e-7
        Least gain that counts, in the unit of the score. That of a loss of residuals is the first
        loss, and that of ``"poisson"`` the mean of y, so that the unit of y makes no difference.
    verbose : int or bool, default=0
        Whether to show a progress bar.
    random_state : int, RandomState, Generator or None, default=None
        Seed or generator; pass an int for reproducible results."""
ATTRIBUTES = """n_iter_ : int
        Rounds that predictions use.
    do_early_stopping_ : bool
        Whether rounds were scored.
    train_score_, validation_score_ : ndarray
        Scores before the first round and after each one, where they were scored; those after the
        best round included.
    n_trees_per_iteration_ : int
        Trees of a round.
    is_categorical_ : ndarray of shape (d,), bool, or None
        Which features are categorical.
    feature_importances_ : ndarray of shape (d,)
        Share of each feature in what all splits gain.
    n_features_in_, feature_names_in_"""
NOTES = """A split needs a positive gain, so an exclusive or of two features, which gains nothing at
    first, is not found. A value equal to a threshold goes left. Missing values go to the side where
    they gain most, or apart from all others; where a node had none in training, and for levels that
    it lacked, to the child with more rows. Levels are ordered by gradient over hessian and cut
    once. The hessians of a leaf must add up to those of ``0.05 (min_samples_leaf - 1)`` mean rows
    at the start, and of 0.001 at least; there are no limits in absolute units, so weights and
    targets may have any scale. A whole weight is a row repeated, but for what counts rows as they
    are given: these limits, and where values that a node lacked go. Rows with zero weight are
    ignored.

    From 16 384 rows on, gradients are rounded at random to 14 bits where that adds less than a
    thousandth to their variance; sums are exact, and so are the values of leaves. Results have the
    same bits at any thread count. A round costs O(n d). Beside X, d bytes a row are kept; of a
    stream, whose targets must be in memory, only these. A stream gives the model of the array. A
    CuPy array is fitted and predicted on its GPU.

    References
    ----------
    Friedman (2001), "Greedy function approximation: a gradient boosting machine"; Chen and Guestrin
    (2016), "XGBoost"; Ke et al. (2017), "LightGBM"; Shi et al. (2022), "Quantized training of
    gradient boosting decision trees"; Lundberg, Erion and Lee (2018), for contributions."""
