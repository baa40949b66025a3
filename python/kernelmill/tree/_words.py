"""Text that the docstrings of trees and of their ensembles share."""

from __future__ import annotations

from kernelmill._docstrings import Words
from kernelmill._estimator._words import WORDS as COMMON

_ROWS = "{array-like, sparse matrix} of shape (n, d)"
_WEIGHTS = "array-like of shape (n,)"
_IGNORED = "Ignored; present for API compatibility."
WORDS = Words(
    arguments={
        "X": (_ROWS, "Rows."),
        "fit.X": (_ROWS, "Rows, float32 or float64; NaN is a missing value."),
        "y": ("ignored", _IGNORED),
        "sample_weight": (_WEIGHTS, "Weights of the rows."),
        "fit.sample_weight": (_WEIGHTS,
            "Weights of the rows; those of weight 0 are ignored."),
        "check_input": ("bool", _IGNORED),
    },
    attributes=COMMON.attributes,
)  # fmt: skip
PARAMETERS = """splitter : {{"best", "random"}}, default="{splitter}"
        ``"random"`` draws one threshold for each feature that is looked at, uniformly between its
        extremes in the node.
    max_depth : int or None, default=None
        Most comparisons to a leaf.
    min_samples_split : int or float, default=2
        Fewest rows of a node that is split; a float is a share of the rows.
    min_samples_leaf : int or float, default=1
        Fewest rows of a leaf; a float is a share of the rows.
    min_weight_fraction_leaf : float, default=0.0
        Least share of the total weight in a leaf.
    max_features : int, float, {{"sqrt", "log2"}} or None, default={max_features}
        Features to look at in each node, drawn anew; more are drawn while all are constant there.
    random_state : int, RandomState, Generator or None, default=None
        Seed or generator; pass an int for reproducible results. Only draws of features and
        thresholds are random.
    max_leaf_nodes : int or None, default=None
        Most leaves: the node whose split gains most is split first.
    min_impurity_decrease : float, default=0.0
        Least decrease of weighted impurity, as a share of the weight of all rows."""
PRUNING = """ccp_alpha : float, default=0.0
        Minimal cost-complexity pruning: subtrees whose effective alpha is at most this are cut off.
    monotonic_cst : array-like of shape (d,) or None, default=None
        1 where predictions must not fall with the feature, -1 where they must not rise, 0 for no
        constraint. For one output{binary}."""
CATEGORIES = """categorical_features : {"from_dtype"}, array-like or None, default=None
        Positions, names or a mask of the categorical features, of at most 255 levels each;
        ``"from_dtype"`` takes the categorical columns of frames. Levels are known by name."""
SPLIT = """split : {"exact", "hist"}, default="exact"
        ``"exact"`` tries all cuts between different values, ``"hist"`` those between bins: faster
        from about 50,000 rows on, with one byte for an entry of X. See Notes.
    max_bins : int, default=255
        Most bins of a feature with ``split="hist"``, from 2 to 255; missing values are apart."""
ATTRIBUTES = """tree_ : Tree
        The fitted tree; scikit-learn's ``plot_tree``, ``export_text`` and ``export_graphviz`` read
        it.
    feature_importances_ : ndarray of shape (d,)
        Normalised decrease of impurity by each feature.
    max_features_ : int
        Features looked at in each node.
    n_outputs_ : int
        Number of outputs.
    is_categorical_ : ndarray of shape (d,), bool, or None
        Which features are categorical.
    n_features_in_, feature_names_in_"""
_LEVELS = """Levels of a feature are put in order by their mean target, or their share of the second
    of two classes, and cut in two: the best of all partitions (Breiman et al., 1984, section 9.6).
    With several outputs, and with three or more classes, each output and each class gives an order;
    the best cut of all of these is not always the best partition. Missing values are one more
    level; levels that a node lacks follow the child with more weight. Criteria of quantiles refuse
    levels. scikit-learn's trees have no such splits: ``tree_.threshold`` is NaN there."""
BINS = """With ``split="hist"`` bins of a feature have about equal weight, and are found once, from
    200,000 drawn rows where there are more (features of few values from all rows). A feature of at
    most ``max_bins`` different values has a bin for each: where all have, the tree is the exact
    one, bit for bit. Only cuts between bins are tried; a threshold is the middle of the values of
    the node on both sides of it. All criteria, constraints, missing values and outputs are as with
    exact splits. Levels of categorical features are never merged, and drawn thresholds need no
    bins: there both are the same."""
NOTES = f"""All cuts between different values are tried, however close the values are: only the
    order of a feature matters. The largest gain wins, then the lowest feature, or that drawn first
    where ``max_features`` is given, then the lowest threshold. A node is split while its targets
    differ and its rows can be told apart, even if the split gains nothing at first. A threshold
    lies between the values on both sides, in float64, and values equal to it go left. Missing
    values go to the side where they gain most; where training had none in a node, to the child with
    more weight. Sparse matrices become dense. Growing costs O(n d depth) after a radix sort of each
    feature, with a rank of 2 bytes per entry beside X (4 from 65,536 rows on). Results have the
    same bits at any thread count.

    {BINS}

    {_LEVELS}

    References
    ----------
    Breiman, Friedman, Olshen and Stone (1984), "Classification and Regression Trees"; Geurts, Ernst
    and Wehenkel (2006), "Extremely randomized trees", for random thresholds."""
