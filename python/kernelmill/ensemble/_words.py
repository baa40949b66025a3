"""Text that the docstrings of the forests share."""

from kernelmill.tree._words import BINS

PARAMETERS = """max_depth : int or None, default=None
        Most comparisons to a leaf.
    min_samples_split : int or float, default=2
        Fewest rows of a node that is split; a float is a share of the rows.
    min_samples_leaf : int or float, default=1
        Fewest rows of a leaf; a float is a share of the rows. Rows that a bag holds several times
        count once.
    min_weight_fraction_leaf : float, default=0.0
        Least share of the weight of a bag in a leaf.
    max_features : int, float, {{"sqrt", "log2"}} or None, default={max_features}
        Features to look at in each node, drawn anew; more are drawn while all are constant there.
        None looks at all in their order, so that the lowest wins ties in all trees.
    max_leaf_nodes : int or None, default=None
        Most leaves of a tree: the node whose split gains most is split first.
    min_impurity_decrease : float, default=0.0
        Least decrease of weighted impurity, as a share of the weight of the bag.
    bootstrap : bool, default={bootstrap}
        Whether each tree sees a bag of rows drawn with replacement, rather than all rows.
    oob_score : bool or callable, default=False
        Whether to estimate the score from rows that are not in the bag of a tree; a function
        ``f(y_true, y_pred)`` in place of {score}. Needs ``bootstrap=True``.
    n_jobs : int or None, default=None
        Ignored; present for API compatibility. See `kernelmill.threads`.
    random_state : int, RandomState, Generator or None, default=None
        Seed or generator; an int gives the same forest, bit for bit, at any number of threads.
    verbose : int, default=0
        Whether to show a progress bar; nothing else is printed.
    warm_start : bool, default=False
        Whether ``fit`` keeps the trees of the last fit and adds those that ``n_estimators`` asks
        for; a forest that has grown in steps is that which has grown at once."""
PRUNING = """ccp_alpha : float, default=0.0
        Minimal cost-complexity pruning of each tree: subtrees whose effective alpha is at most this
        are cut off.
    max_samples : int, float or None, default=None
        Rows to draw for a bag; a float is a share of the rows, None as many as there are.
    monotonic_cst : array-like of shape (d,) or None, default=None
        1 where predictions must not fall with the feature, -1 where they must not rise, 0 for no
        constraint. For one output{binary}."""
ATTRIBUTES = """estimators_ : sequence of estimators
        The trees; each is made when it is asked for.
    estimator_ : estimator
        An unfitted tree with their parameters.
    estimators_samples_ : list of ndarray
        Rows in each bag, with repetitions.
    feature_importances_ : ndarray of shape (d,)
        Mean over trees of the normalised decrease of impurity by each feature.
    n_outputs_ : int
        Number of outputs.
    is_categorical_ : ndarray of shape (d,), bool, or None
        Which features are categorical.
    n_features_in_, feature_names_in_
    oob_score_ : float
        Score of the out-of-bag estimates, over rows that have one; with ``oob_score``. Where a
        classifier has several outputs, the share of rows all of whose labels are right."""
NOTES = f"""Splits are exact unless ``split="hist"``: every cut between different values of the
    features that are drawn is looked at, by sums over bins of adjacent ranks and bounds on what
    lies inside a bin; see the page on trees. Ties go to the feature drawn first and the lowest
    threshold, so that trees differ where rows are few. Missing values go to the side where they
    gain most. A bag is a vector of integer weights; trees share the ranks of the features, 2 to 4
    bytes per entry. Trees grow side by side, one on each thread, and a large one on several.
    Results have the same bits at any thread count. Predictions take CuPy arrays.

    {BINS}

    Levels of a feature are put in order once for a tree, by the mean target of the rows of its bag,
    or by their share of the second of two classes, and splits cut this order in two; with several
    outputs, and with three or more classes, each output and each class gives an order. (An order
    for each node, as single trees have it, leaves more to choose from and predicts less well:
    Wright and Koenig, 2019, "Splitting on categorical predictors in random forests".) Missing
    values are one more level; levels that a node lacks follow the child with more rows of the
    bag, or with more weight if ``bootstrap=False``. The criterion ``"absolute_error"`` refuses
    levels."""
