"""Text that the docstrings of gradient boosting share."""

PARAMETERS = """learning_rate : float, default=0.1
        Factor of what each stage adds.
    n_estimators : int, default=100
        Most stages.
    subsample : float, default=1.0
        Share of the rows that each stage sees, drawn without replacement.
    criterion : {{"friedman_mse", "squared_error"}}, default="friedman_mse"
        Ignored: both grow the same trees.
    min_samples_split : int or float, default=2
        Fewest rows of a node that is split; a float is a share of the rows.
    min_samples_leaf : int or float, default=1
        Fewest rows of a leaf; a float is a share of the rows.
    min_weight_fraction_leaf : float, default=0.0
        Least share of the total weight in a leaf.
    max_depth : int or None, default=3
        Most comparisons to a leaf.
    min_impurity_decrease : float, default=0.0
        Least decrease of the squared error of gradients, as a share of the weight of all rows.
    init : estimator, "zero" or None, default=None
        What stages add to: an estimator that is fitted first, nothing, or, for None, the best
        constant.
    random_state : int, RandomState, Generator or None, default=None
        Seed or generator; an int gives the same model, bit for bit, at any number of threads."""
MORE = """verbose : int, default=0
        Whether to show a progress bar; nothing else is printed.
    max_leaf_nodes : int or None, default=None
        Most leaves of a tree: the node whose split gains most is split first.
    warm_start : bool, default=False
        Whether ``fit`` keeps the stages of the last fit and adds those that ``n_estimators`` asks
        for.
    validation_fraction : float, default=0.1
        Share of the rows to validate with; with ``n_iter_no_change``.
    n_iter_no_change : int or None, default=None
        Stages without a better loss on the rows to validate with after which to stop; the stages up
        to the lowest loss are kept.
    tol : float, default=1e-4
        Least improvement that counts, as a share of the loss after the first stage.
    ccp_alpha : float, default=0.0
        Minimal cost-complexity pruning of each tree."""
ATTRIBUTES = """estimators_ : ndarray of shape (n_estimators_, columns), object
        The trees, `DecisionTreeRegressor`; made when they are asked for.
    n_estimators_ : int
        Number of stages.
    n_trees_per_iteration_ : int
        Trees of a stage: one, or one for each class of several.
    init_ : estimator or None
        The fitted ``init``, if it is an estimator.
    train_score_ : ndarray of shape (n_estimators_,)
        Training loss after each stage, over the rows that it saw.
    oob_improvement_, oob_scores_ : ndarray of shape (n_estimators_,)
        Fall of the loss, and loss, of the rows that a stage did not see; with ``subsample`` below
        1.
    oob_score_ : float
        The last of ``oob_scores_``.
    feature_importances_ : ndarray of shape (d,)
        Decrease of the squared error of gradients by each feature, normalised.
    max_features_ : int
        Features looked at in each node.
    n_features_in_, feature_names_in_"""
NOTES = """Each stage fits a tree to minus the gradient of the loss by squared error, over float32
    values or over ranks of float64 ones that are computed once, and then gives each leaf the value
    that lowers the loss of its rows: its minimiser, or one step of Newton's method. All cuts are
    looked at, so nothing is binned; for many rows a histogram is faster. Results have the same bits
    at any thread count.

    References
    ----------
    Friedman (2001), "Greedy function approximation: a gradient boosting machine"; Friedman (2002),
    "Stochastic gradient boosting"."""
