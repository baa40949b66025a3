"""Docstrings: what follows from the name of an argument or of a function is written here, once.

:func:`complete` adds to the docstrings of a module the sections that they lack: parameters, what is
returned, an example. What a docstring says itself is kept.
"""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any

from kernelmill._docstrings import arguments_of, assembled, listed, parameters, sections

from . import _function_words as more
from ._examples import EXAMPLES

_LIKE = "Tensor or array"
_OPERANDS = {"other": ("Tensor, array or number", "The second operand; shapes broadcast.")}
_TWO = ("Tensor of shape (N, d)", "Vectors; row i of one and row i of the other are a pair.")
_AXES = ("int or tuple of int", "Axes to reduce; all by default.")
_CLASSES = ("Tensor of shape (C,)", "Weights of the classes.")
_LEARNT = ("Tensor or iterable of Tensor", "Those without a gradient are ignored.")
_SIGNS = (f"{_LIKE}, in the shape of the input", "1 or -1.")

# argument, or function.argument: its type and meaning; defaults are read from the signature.
PARAMETERS: dict[str, tuple[str, str]] = {
    "*args": ("Any", "Ignored."),
    "**kwargs": ("Any", "Ignored."),
    "*counts": ("int", "Numbers of copies along the last axes."),
    "*dims": ("int", "Axes, one by one or as a tuple."),
    "*inputs": ("Tensor", "The tensors that the function takes."),
    "*others": ("Tensor, array or number", "Arguments of the function."),
    "*shape": ("int", "Sizes, one by one or as a tuple."),
    "*size": ("int", "Sizes, one by one or as a tuple."),
    "*sizes": ("int", "One number for each axis, one by one or as a tuple."),
    "activation": ("str", "Name of the function in the elementwise table."),
    "affine": ("bool", "Learn a weight and a bias for each channel."),
    "alpha": ("float", "The function tends to ``-alpha`` towards minus infinity."),
    "anchor": (_LIKE, "The examples that the others are compared with."),
    "approximate": ('{"none", "tanh"}', "Exact, or the approximation with the hyperbolic tangent."),
    "**torch": ("bool", "Accepted and ignored: ``foreach``, ``fused``, ``capturable``."),
    "amsgrad": ("bool", "Divide by the largest mean of squares so far."),
    "ceil_mode": ("bool", "Keep windows that begin inside and end outside."),
    "beta": ("float", "Where the loss changes from quadratic to linear."),
    "betas": ("tuple of float", "Decay of the two moving means, of gradients and of squares."),
    "bias": ("bool", "Whether the layer has a bias."),
    "chunks": ("int", "Number of parts; fewer where the axis is too short."),
    "condition": (f"{_LIKE} of bool", "Where to take the first; shapes broadcast."),
    "correction": ("float", "The divisor is n minus this number."),
    "data": ("array-like", "Values."),
    "decoupled_weight_decay": ("bool", "Decay the parameter itself, as `AdamW` does."),
    "delta": ("float", "Where the loss changes from quadratic to linear."),
    "descending": ("bool", "From the largest to the smallest."),
    "destination": ("int", "The new position of the axis."),
    "device": ('{"cpu", "cuda"}', "Where the values are to be."),
    "diagonal": ("int", "Which diagonal: 0 is the main one, positive ones lie above it."),
    "dilation": ("int or tuple of int", "Distance of neighbouring taps."),
    "dim": ("int", "The axis; negative numbers count from the last."),
    "dim0": ("int", "The first axis."),
    "dim1": ("int", "The first axis."),
    "dim2": ("int", "The second axis."),
    "dims": ("int", "The axis."),
    "downscale_factor": ("int", "Pixels of a block along each axis."),
    "dtype": ("dtype", "Dtype of the parameters or the result; the default dtype if not given."),
    "elementwise_affine": ("bool", "Learn a weight for each element."),
    "embedding_dim": ("int", "Length of a row."),
    "end_dim": ("int", "The last axis to merge."),
    "eps": ("float", "Small number that keeps divisors away from 0."),
    "exponent": ("Tensor, array or number", "The exponent."),
    "full": ("bool", "Add the terms that do not depend on the input."),
    "generator": ("Generator", "Source of random numbers; the seeded default one otherwise."),
    "importance_scores": ("Tensor", "In place of the values, in the shape of the parameter."),
    "in1_features": ("int", "Length of the first input."),
    "in2_features": ("int", "Length of the second input."),
    "in_channels": ("int", "Number of input channels."),
    "in_features": ("int", "Length of an input row."),
    "index": (f"{_LIKE} of int", "Positions along the axis."),
    "init": ("float", "First value of the weights."),
    "inplace": ("bool", "Ignored; present for compatibility with torch. The result is always new."),
    "input": (_LIKE, "The input."),
    "input1": (_LIKE, "The first of each pair."),
    "input2": (_LIKE, "The second of each pair."),
    "include_last_offset": ("bool", "The last offset is the end of the last bag."),
    "k": ("int", "How many."),
    "kernel_size": ("int or tuple of int", "Size of the window."),
    "key": ("str", "The name."),
    "keepdim": ("bool", "Keep the reduced axes, with size 1."),
    "lambd": ("float", "Values up to this magnitude become 0."),
    "largest": ("bool", "The largest or the smallest."),
    "length": ("int", "Length of the range."),
    "log_input": ("bool", "The input holds logarithms of means."),
    "log_target": ("bool", "The target holds logarithms of probabilities."),
    "margin": ("float", "The least difference without loss."),
    "lr": ("float", "Learning rate."),
    "mask": (f"{_LIKE} of bool", "Which elements; it broadcasts."),
    "max": ("float", "Upper end; no limit by default."),
    "max_val": ("float", "Upper end."),
    "maximize": ("bool", "Ascend, not descend."),
    "min": ("float", "Lower end; no limit by default."),
    "min_val": ("float", "Lower end."),
    "max_norm": ("float", "Rows that are used and longer are scaled to this norm."),
    "metadata": ("dict of str to str", "Kept in the file."),
    "module": ("Module or None", "The module."),
    "momentum": ("float", "Share of the new batch in the running statistics."),
    "name": ("str", "Name of the attribute."),
    "negative": (_LIKE, "Examples of another kind than the anchors."),
    "negative_slope": ("float", "The slope below 0."),
    "norm_type": ("float", "Which norm: p of the p-norm."),
    "normalized_shape": ("int or tuple of int", "Sizes of the last axes, which are normalised."),
    "num_channels": ("int", "Number of channels (axis 1)."),
    "num_classes": ("int", "Number of classes; -1 for the largest index plus 1."),
    "num_embeddings": ("int", "Number of rows."),
    "num_groups": ("int", "Number of groups, which divides that of the channels."),
    "offset": ("int", "Which diagonal: 0 is the main one, positive ones lie above it."),
    "offsets": (f"{_LIKE} of int", "Where each bag starts, for input with one axis."),
    "out_channels": ("int", "Number of output channels."),
    "output_padding": ("int or tuple of int", "Places added behind the output."),
    "output_size": ("tuple of int", "One of the sizes that the stride leaves open."),
    "out_features": ("int", "Length of an output row."),
    "p": ("float", "Which norm: p of the p-norm."),
    "padding": ("int or tuple of int", "Values added at both ends."),
    "padding_mode": ("str", "As for :func:`kernelmill.nn.functional.pad`."),
    "param": ("Parameter or None", "The parameter."),
    "params": ("iterable of Tensor, of (str, Tensor) pairs, or of dict",
               "Parameters, or groups of them with their own options."),
    "path": ("path-like", "The file."),
    "per_sample_weights": (_LIKE, "Factors of the rows, in the shape of the input."),
    "positive": (_LIKE, "Examples of the same kind."),
    "prefix": ("str", "Put before each name."),
    "quantile": ("float in (0, 1)", "Which quantile."),
    "query": (_LIKE, "The examples to find the positive ones for."),
    "recurse": ("bool", "Include the modules inside."),
    "reduction": ('{"mean", "sum", "none"}', "How the losses of the elements are combined."),
    "remove_duplicate": ("bool", "Each object once, under its first name."),
    "repeats": ("int or array of int", "Number of copies, one for all or one for each element."),
    "requires_grad": ("bool", "Whether to record operations, so that gradients can be computed."),
    "running_mean": ("Tensor of shape (C,)", "Updated in place in training."),
    "running_var": ("Tensor of shape (C,)", "Updated in place in training."),
    "scale_grad_by_freq": ("bool", "Divide the gradient of a row by how often it was used."),
    "seed": ("int", "Seed; the same seed gives the same numbers."),
    "shape": ("tuple of int", "Sizes."),
    "shifts": ("int", "How many places."),
    "size": ("int or tuple of int", "Sizes."),
    "sizes": ("sequence of int", "Sizes of the new axes; one may be -1."),
    "source": (_LIKE, "The tensor that is read."),
    "split_size": ("int or sequence of int", "Size of each part, or the sizes of all."),
    "src": (_LIKE, "What is added."),
    "start": ("int", "Where the range starts."),
    "start_dim": ("int", "The first axis to merge."),
    "stride": ("int or tuple of int", "Distance of neighbouring windows."),
    "target": (f"{_LIKE}, in the shape of the input", "What the input should be."),
    "temperature": ("float", "Divisor of the similarities."),
    "tensors": ("sequence of Tensor", "The tensors to join."),
    "threshold": ("float", "The threshold."),
    "training": ("bool", "Whether anything is dropped."),
    "unflattened_size": ("tuple of int", "Sizes of the new axes; one may be -1."),
    "upscale_factor": ("int", "Pixels of a block along each axis."),
    "use_input_stats": ("bool", "Normalise by the input rather than by the running statistics."),
    "value": ("float", "The value."),
    "values": ("iterable", "What to add."),
    "var": (f"{_LIKE}, in the shape of the input", "Variances."),
    "weight": ("Tensor", "Factors."),
    "weight_decay": ("float", "Added times the parameter to the gradient."),
    # recurrent layers
    "batch_first": ("bool", "Input and output are (B, T, ...) rather than (T, B, ...)."),
    "bidirectional": ("bool", "Read each sequence from its end too, with weights of its own."),
    **dict.fromkeys(
        ("RNN.dropout", "LSTM.dropout", "GRU.dropout", "RNNBase.dropout"),
        ("float", "Probability of dropout between layers, in training."),
    ),
    "hidden_size": ("int", "Number of units."),
    "input_size": ("int", "Number of features of each step."),
    "RNNBase.mode": ("str", "RNN_TANH, RNN_RELU, LSTM or GRU."),
    "nonlinearity": ('{"tanh", "relu"}', "f."),
    "num_layers": ("int", "Each layer reads the outputs of the one below."),
    "proj_size": ("int", "Size that states are projected to; 0 for no projection."),
    # schedules
    "T_0": ("int", "Steps of the first cycle."),
    "T_max": ("int", "Steps from the initial rate to the smallest."),
    "T_mult": ("int", "Each cycle is so many times as long as the one before."),
    "base_lr": ("float or list of float", "The smallest rate."),
    "base_momentum": ("float or list of float", "The smallest momentum."),
    "cooldown": ("int", "Steps after a reduction that do not count as bad."),
    "cycle_momentum": ("bool", "Move the momentum against the rate, where there is one."),
    "div_factor": ("float", "The initial rate is ``max_lr`` divided by it."),
    "end_factor": ("float", "The last factor."),
    "epochs": ("int", "Epochs, if ``total_steps`` is not given."),
    "eta_min": ("float", "The smallest rate."),
    "factor": ("float", "What the rate is multiplied by."),
    "final_div_factor": ("float", "The last rate is the initial one divided by it."),
    "gamma": ("float", "What the rate is multiplied by each time."),
    "last_epoch": ("int", "The step to go on from; -1 for the start."),
    "lr_lambda": ("callable or list of callable", "A factor for each number of a step."),
    "max_lr": ("float or list of float", "The largest rate."),
    "max_momentum": ("float or list of float", "The largest momentum."),
    "milestones": ("list of int", "The steps where something changes."),
    "min_lr": ("float or list of float", "The smallest rate."),
    "optimizer": ("Optimizer", "The optimiser whose learning rates are set."),
    "patience": ("int", "Steps without gain before a reduction."),
    "pct_start": ("float", "Share of the steps in which the rate rises."),
    "power": ("float", "The exponent."),
    "scale_fn": ("callable", "Amplitude of a cycle, in place of ``mode``."),
    "scale_mode": ('{"cycle", "iterations"}', "What ``scale_fn`` takes."),
    "schedulers": ("list of LRScheduler", "The schedules, all of this optimiser."),
    "start_factor": ("float", "The first factor."),
    "step_size": ("int", "Steps between two changes."),
    "step_size_down": ("int", "Steps down; ``step_size_up`` by default."),
    "step_size_up": ("int", "Steps up."),
    "steps_per_epoch": ("int", "Steps of an epoch, if ``total_steps`` is not given."),
    "three_phase": ("bool", "Come down as slowly as up, then anneal."),
    "threshold_mode": ('{"rel", "abs"}', "Whether the threshold is a share of the best."),
    "total_iters": ("int", "Steps until the schedule ends."),
    "total_steps": ("int", "Steps of the whole cycle."),
    "CyclicLR.mode": ('{"triangular", "triangular2", "exp_range"}',
                      "Cycles of one height, halved each time, or shrinking by ``gamma``."),
    "OneCycleLR.anneal_strategy": ('{"cos", "linear"}', "The shape of the way down."),
    "ReduceLROnPlateau.mode": ('{"min", "max"}', "Whether smaller or larger is better."),
    "ReduceLROnPlateau.threshold": ("float", "The least gain that counts."),
    "ReduceLROnPlateau.eps": ("float", "Smaller changes of the rate are not made."),
    "scale_fn.x": ("float", "Number of the cycle, or of the step."),
    "add_param_group.param_group": ("dict", "Parameters under ``params``, and options."),
    "load_state_dict.state_dict": ("dict", "From :meth:`state_dict`."),
    "x1": _TWO,
    "x2": _TWO,
    # one function or class
    "ModuleDict.modules": ("mapping or iterable of pairs", "Names and modules."),
    "ModuleList.modules": ("iterable of Module", "The modules."),
    "ParameterDict.parameters": ("mapping or iterable of pairs", "Names and parameters."),
    "ParameterList.values": ("iterable of Tensor", "The parameters."),
    "append.value": ("Module or Tensor", "What to add."),
    "apply.function": ("callable", "Called with a module."),
    "insert.index": ("int", "Where."),
    "insert.value": ("Module or Tensor", "What to add."),
    "grad.outputs": ("Tensor or sequence of Tensor", "What is differentiated."),
    "update.entries": ("mapping or iterable of pairs", "Names and entries."),
    "register_forward_hook.hook": ("callable", "``hook(module, args, result)``."),
    "register_forward_pre_hook.hook": ("callable", "``hook(module, args)``."),
    "register_buffer.tensor": ("Tensor or None", "The values."),
    "get_buffer.target": ("str", "The name."),
    "get_parameter.target": ("str", "The name."),
    "get_submodule.target": ("str", "The name."),
    "set_state.state": ("tuple of int", "The seed and the number of draws."),
    "summary.*inputs": ("Tensor or array", "Run through the module to find shapes."),
    "summary.**kwargs": ("Any", "Passed on to the module."),
    "summary.model": ("Module", "The network."),
    "arange.start": ("float", "The first number; alone, the end of numbers from 0."),
    "arange.end": ("float", "The numbers stay below it."),
    "arange.step": ("float", "Difference of two numbers."),
    "atan2.input": (_LIKE, "Ordinates."),
    "atan2.other": (_LIKE, "Abscissas."),
    "bernoulli.probability": (_LIKE, "Probabilities of a 1."),
    "contrastive_loss.target": (f"{_LIKE} of shape (N,)", "1 for similar pairs, else 0."),
    "clip_grad_norm_.max_norm": ("float", "Largest norm afterwards."),
    "clip_grad_value_.clip_value": ("float", "Largest magnitude afterwards."),
    "clip_grad_norm_.parameters": _LEARNT,
    "clip_grad_value_.parameters": _LEARNT,
    "cosine_embedding_loss.margin": ("float", "Largest cosine of a dissimilar pair without loss."),
    "cosine_embedding_loss.target": (f"{_LIKE} of shape (N,)", "1 for similar pairs, else -1."),
    "dirac_.groups": ("int", "Number of groups of channels."),
    "eye.m": ("int", "Number of columns; n by default."),
    "eye.n": ("int", "Number of rows."),
    "from_numpy.array": ("ndarray", "Not copied."),
    "full.fill_value": ("float", "The value."),
    "gather.index": (f"{_LIKE} of int", "Positions along ``dim``, one for each element."),
    "glu.dim": ("int", "The axis that is halved."),
    "channel_shuffle.groups": ("int", "Number of groups, which divides that of the channels."),
    "hardtanh.max_val": ("float", "Upper end."),
    "heaviside.value": ("float", "The value at 0."),
    "hinge_embedding_loss.input": (_LIKE, "Distances."),
    "hinge_embedding_loss.target": _SIGNS,
    "hinge_loss.target": _SIGNS,
    "index_add.index": (f"{_LIKE} of int", "Positions along the axis; they may repeat."),
    "index_add.source": (_LIKE, "What is added, a slice for each position."),
    "linspace.end": ("float", "The last number."),
    "linspace.start": ("float", "The first number."),
    "linspace.steps": ("int", "How many numbers."),
    "margin_ranking_loss.target": _SIGNS,
    "movedim.source": ("int", "The axis."),
    "max_norm_.max_norm": ("float", "Largest norm of a unit afterwards."),
    "multi_margin_loss.input": ("Tensor of shape (N, C) or (C,)", "Scores."),
    "multi_margin_loss.p": ("{1, 2}", "The exponent of the margins."),
    "multi_margin_loss.target": ("Tensor of shape (N,) or (), integers", "Classes."),
    "multi_margin_loss.weight": _CLASSES,
    "multilabel_margin_loss.input": ("Tensor of shape (N, C) or (C,)", "Scores."),
    "multilabel_margin_loss.target": ("Tensor of shape (N, C) or (C,), integers",
                                      "Right classes, ended by -1."),
    "multilabel_soft_margin_loss.input": ("Tensor of shape (N, C)", "Logits."),
    "multilabel_soft_margin_loss.target": ("Tensor of shape (N, C)", "0 or 1 for each class."),
    "multilabel_soft_margin_loss.weight": _CLASSES,
    "multinomial.num_samples": ("int", "Draws for each row."),
    "multinomial.replacement": ("bool", "Whether an index may be drawn again."),
    "multinomial.weights": (f"{_LIKE} of shape (k,) or (n, k)", "Not negative."),
    "normalize.eps": ("float", "The least divisor."),
    "pairwise_distance.eps": ("float", "Added to the differences."),
    "poisson_nll_loss.input": (_LIKE, "Means, or their logarithms."),
    "poisson_nll_loss.target": (f"{_LIKE}, in the shape of the input", "Counts."),
    "gaussian_nll_loss.input": (_LIKE, "Means."),
    "gaussian_nll_loss.target": (f"{_LIKE}, in the shape of the input", "Observations."),
    "gaussian_nll_loss.eps": ("float", "Least variance."),
    "prelu.weight": ("Tensor of shape (C,) or (1,)", "The slopes below 0."),
    "randint.high": ("int", "The numbers stay below it."),
    "randint.low": ("int", "The smallest number."),
    "randperm.n": ("int", "How many numbers."),
    "reshape.*shape": ("int", "Sizes, one by one or as a tuple; one may be -1."),
    "rms_norm.eps": ("float", "Added to the mean square; the machine epsilon by default."),
    "scatter_add.index": (f"{_LIKE} of int", "Positions along ``dim``, as for :meth:`gather`."),
    "select.index": ("int", "The position."),
    "size.dim": ("int", "One axis; the whole shape by default."),
    "soft_margin_loss.target": _SIGNS,
    "softplus.beta": ("float", "Sharpness."),
    "softplus.threshold": ("float", "``beta x`` above it is passed on."),
    "squared_hinge_loss.target": _SIGNS,
    "squeeze.dim": ("int or tuple of int", "Only these axes; all by default."),
    "threshold.value": ("float", "What other values become."),
    "where.other": ("Tensor, array or number", "The values elsewhere."),
    "where.x": ("Tensor, array or number", "Values where the condition holds."),
    "where.y": ("Tensor, array or number", "Values elsewhere."),
    "EmbeddingBag.mode": ('{"mean", "sum", "max"}', "How the rows of a bag are combined."),
    "as_tensor.value": ("array-like", "Values, or a tensor."),
    "batch_norm.training": ("bool", "Normalise by the batch, not by the running statistics."),
    "copy_.source": (_LIKE, "The values."),
    "nll_loss.target": ("Tensor of shape (N, ...) or (), integers", "Classes."),
    "pad.mode": ("str", "What the new places hold."),
    "poisson_nll_loss.eps": ("float", "Added to the input before its logarithm is taken."),
    "train.mode": ("bool", "True for training, False for evaluation."),
    "zero_grad.set_to_none": ("bool", "Drop the gradients; False makes them 0."),
}  # fmt: skip
_GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    """add sub mul div remainder maximum minimum eq ne lt le gt ge logical_and logical_or hypot
    outer""": _OPERANDS,
    "matmul mm mv dot bmm": {"other": (_LIKE, "The second operand.")},
    "expand_as reshape_as view_as type_as": {"other": (_LIKE, "The tensor to be like.")},
    "sum mean var std amax amin logsumexp norm all any": {"dim": _AXES},
    "argmax argmin prod max min": {"dim": ("int", "The axis; all elements together by default.")},
    "batch_norm group_norm instance_norm": {
        "input": ("Tensor of shape (N, C, ...)", "The input."),
        "eps": ("float", "Added to the variance."),
        "weight": ("Tensor of shape (C,)", "Factors of the channels."),
        "bias": ("Tensor of shape (C,)", "Shifts of the channels."),
    },
    "to": {"dtype": ("dtype", "The dtype to convert to.")},
    "sum softmax log_softmax softmin": {"dtype": ("dtype", "Convert the input first.")},
    "zeros_like ones_like": {"dtype": ("dtype", "That of the input by default.")},
    "LayerNorm GroupNorm": {"eps": ("float", "Added to the variance.")},
    "layer_norm rms_norm": {
        "eps": ("float", "Added to the variance."),
        "weight": ("Tensor of shape normalized_shape", "Factors of the elements."),
        "bias": ("Tensor of shape normalized_shape", "Shifts of the elements."),
    },
    "linear bilinear": {
        "weight": ("Tensor", "The weights."),
        "bias": ("Tensor of shape (out_features,)", "Added to the result."),
    },
    "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout": {
        "p": ("float", "Probability of a 0."),
    },
    "uniform_ normal_ trunc_normal_ constant_ ones_ zeros_ eye_ dirac_ xavier_uniform_"
    " xavier_normal_ kaiming_uniform_ kaiming_normal_ lecun_uniform_ lecun_normal_ orthogonal_"
    " sparse_": {
        "tensor": ("Tensor", "The tensor to write into."),
        "a": ("float", "Lower end."),
        "b": ("float", "Upper end."),
        "gain": ("float", "Factor, see :func:`calculate_gain`."),
        "mean": ("float", "Mean."),
        "mode": ('{"fan_in", "fan_out"}', "Keep variances forward or backward."),
        "nonlinearity": ("str", "What comes after the layer, see :func:`calculate_gain`."),
        "sparsity": ("float", "Share of zeros in each column."),
        "std": ("float", "Standard deviation."),
        "val": ("float", "The value."),
    },
    "kaiming_uniform_ kaiming_normal_": {"a": ("float", "The slope of leaky_relu.")},
    "clip_grad_value_ clip_grad_norm_ l1_penalty l2_penalty max_norm_ parameters_to_vector"
    " vector_to_parameters": {
        "parameters": ("Tensor or iterable of Tensor", "The parameters."),
        "clip_value": ("float", "The largest magnitude."),
        "max_norm": ("float", "The largest norm."),
        "dim": ("int", "The axis of the units."),
        "vec": (_LIKE, "As long as all parameters together."),
    },
    # pruning
    """identity random_unstructured l1_unstructured random_structured ln_structured custom_from_mask
    remove apply apply_mask compute""": {
        "module": ("Module", "The owner of the parameter."),
    },
    "random_unstructured l1_unstructured RandomUnstructured L1Unstructured": {
        "amount": ("int or float", "How many of the elements that are left, or their share."),
    },
    "random_structured ln_structured RandomStructured LnStructured": {
        "amount": ("int or float", "How many of the channels that are left, or their share."),
        "dim": ("int", "The axis of the channels."),
        "n": ('int, float or "fro"', "Which norm, as for ``Tensor.norm``."),
    },
    "custom_from_mask CustomFromMask": {
        "mask": ("Tensor", "Zeros and ones in the shape of the parameter."),
    },
    "compute_mask": {
        "t": ("Tensor", "How important each element is: its value, if nothing else is given."),
        "default_mask": ("Tensor", "The mask of earlier prunings."),
    },
    "prune": {
        "t": ("Tensor", "What is pruned."),
        "default_mask": ("Tensor", "An earlier mask; ones by default."),
    },
    "is_pruned": {"module": ("Module", "The outermost one.")},
}  # fmt: skip
for _names, _words in _GROUPS.items():
    for _name in _names.split():
        PARAMETERS.update({f"{_name}.{key}": value for key, value in _words.items()})
PARAMETERS = more.PARAMETERS | PARAMETERS

_SAME = "Of the shape of the input."
_VIEW = "A view of the same values where possible, else a copy."
_RETURNS: dict[str, tuple[str, str]] = {
    """abs acos acosh asin asinh atan atanh ceil clamp clip cos cosh erf exp exp2 expm1 floor log
    log10 log1p log2 neg pow reciprocal relu round rsqrt sigmoid sign sin sinh sqrt square tan tanh
    trunc cumsum cumprod flip roll masked_fill tril triu scatter_add index_add clone celu elu gelu
    hardshrink hardsigmoid hardswish hardtanh heaviside leaky_relu log_softmax logsigmoid mish
    normalize prelu relu6 selu silu softmax softmin softplus softshrink softsign tanhshrink
    threshold gumbel_softmax dropout dropout1d dropout2d dropout3d alpha_dropout
    feature_alpha_dropout rrelu channel_shuffle local_response_norm batch_norm group_norm
    instance_norm layer_norm rms_norm""":
        ("Tensor", _SAME),
    "isnan isinf isfinite": ("Tensor of bool", _SAME),
    "add sub mul div remainder maximum minimum where atan2 hypot":
        ("Tensor", "Of the shape that the operands broadcast to."),
    "eq ne lt le gt ge logical_and logical_or":
        ("Tensor of bool", "Of the shape that the operands broadcast to."),
    "sum mean var std amax amin logsumexp norm prod":
        ("Tensor", "Without the reduced axes, or with size 1 there (``keepdim``)."),
    "item": ("bool, int or float", "The element."),
    "tolist": ("list or number", "The values."),
    "numpy": ("ndarray", "The values."),
    "dim numel": ("int", "The number."),
    "size": ("tuple of int, or int", "The number of elements along axes."),
    "all any": ("Tensor of bool", "Without the reduced axes, or with size 1 there (``keepdim``)."),
    "argmax argmin": ("Tensor of int64", "Positions."),
    "argsort": ("Tensor of int64", "Positions, in the shape of the input."),
    "max min": ("Tensor, or named tuple of values and indices", "A tuple where ``dim`` is given."),
    "sort topk": ("named tuple of values and indices", "Two tensors."),
    "matmul mm mv dot bmm": ("Tensor", "Of shape (..., n, m), without the axis of a vector."),
    "outer": ("Tensor", "Of shape (n, m)."),
    "trace": ("Tensor", "One number."),
    """reshape view view_as reshape_as flatten unflatten permute transpose swapaxes movedim t
    squeeze unsqueeze expand expand_as broadcast_to narrow select diagonal detach contiguous""":
        ("Tensor", _VIEW),
    "split chunk unbind": ("tuple of Tensor", "Views of the parts."),
    "repeat tile repeat_interleave": ("Tensor", "A copy, as large as needed."),
    "index_select": ("Tensor", "A copy of the slices."),
    "gather take_along_dim": ("Tensor", "Of the shape of the index."),
    "masked_select": ("Tensor", "With one axis."),
    "diag": ("Tensor", "With one axis for a matrix, else a matrix."),
    "cat concat concatenate stack": ("Tensor", "The tensors in one."),
    "zeros ones full zeros_like ones_like arange linspace eye from_numpy tensor new_zeros new_full"
    " as_tensor": ("Tensor", "The new tensor."),
    "rand randn randint bernoulli": ("Tensor", "Random numbers."),
    "randperm": ("Tensor of int64", "Of shape (n,)."),
    "multinomial": ("Tensor of int64", "Of shape (num_samples,) or (n, num_samples)."),
    "to type_as cpu cuda float double long int bool":
        ("Tensor", "Converted; itself where nothing changes."),
    "one_hot": ("Tensor of int64", "With one more axis, of the classes."),
    "pad": ("Tensor", "The padded tensor."),
    "lp_pool1d lp_pool2d lp_pool3d": ("Tensor", "One number for each window."),
    "pixel_shuffle pixel_unshuffle": ("Tensor", "The same values."),
    "pdist": ("Tensor of shape (n (n - 1) / 2,)", "Distances."),
    "glu": ("Tensor", "Half as long along the axis."),
    "embedding_bag": ("Tensor", "A row for each bag."),
    "cosine_similarity pairwise_distance": ("Tensor", "One number for each pair."),
    "is_grad_enabled gradcheck gradgradcheck": ("bool", "True or False."),
    "get_default_dtype": ("dtype", "float32 or float64."),
    "get_float32_matmul_precision": ("str", "One of those names."),
    "inference_mode no_grad enable_grad set_grad_enabled":
        ("context manager", "Also a decorator of functions."),
    "einsum": ("Tensor", "With the axes to the right of the arrow."),
    "keys values items": ("iterable", "In the order in which they were added."),
    "parameters buffers": ("iterator of Tensor", "In the order of their names in the state."),
    "named_parameters named_buffers": ("iterator of (str, Tensor)", "Names as in the state."),
    "modules children": ("iterator of Module", "In the order in which they were added."),
    "named_children": ("iterator of (str, Module)", "In the order in which they were added."),
    "pop": ("Module or Parameter", "The entry."),
    "append extend insert": ("Module", "This container."),
    "get_buffer": ("Tensor", "Itself, not a copy."),
    "get_parameter": ("Parameter", "Itself, not a copy."),
    "get_submodule": ("Module", "Itself, not a copy."),
    "summary": ("Summary", "Print it."),
    "get_total_norm": ("Tensor", "The norm, in float64."),
    "l1_penalty l2_penalty": ("Tensor", "The penalty, to be added to a loss."),
    "parameters_to_vector": ("Tensor", "With one axis."),
    "draw get_state": ("tuple of int", "Two numbers."),
    "initial_seed": ("int", "The seed."),
    "state_dict": ("dict", "For :meth:`load_state_dict`."),
    "get_lr get_last_lr": ("list of float", "A learning rate for each group of parameters."),
    "scale_fn": ("float", "The amplitude, at most 1."),
    "extra_repr": ("str", "Shown in the brackets of ``repr``."),
    "forward activated": ("Tensor", "The output."),
    "linear bilinear": ("Tensor", "Of shape (..., out_features)."),
    "embedding": ("Tensor", "Of shape (*input.shape, embedding_dim)."),
}  # fmt: skip
RETURNS = {name: value for names, value in _RETURNS.items() for name in names.split()}
RETURNS = more.RETURNS | RETURNS
_BY_TYPE = {
    "Module": "This module.",
    "Generator": "The generator.",
    "Handle": "Its ``remove()`` removes the hook.",
}
_LOSS = 'One number, or the losses of the elements where ``reduction`` is ``"none"``.'

_IMMUTABLE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE: classes written in C have their docstrings there


def documented(function: Any) -> None:
    """Complete one docstring in place."""
    text = function.__doc__
    if not text:
        return
    name = function.__name__
    parts, taken = sections(text), arguments_of(function)
    parts["Parameters"] = parameters(name, taken, parts.get("Parameters", ""), PARAMETERS)
    if not isinstance(function, type) and "Returns" not in parts and "Yields" not in parts:
        kind = str(function.__annotations__.get("return"))
        returned = RETURNS.get(name)
        if any(key == "reduction" for key, _ in taken):
            returned = ("Tensor", _LOSS)
        elif name.endswith("_") and kind in ("Tensor", "Any"):
            returned = ("Tensor", "The tensor itself.")
        elif kind in _BY_TYPE and name != "get_submodule":
            returned = (kind, _BY_TYPE[kind])
        if returned and kind != "None":
            parts["Returns"] = f"{returned[0]}\n    {returned[1]}"
    elif "Returns" in parts and "\n" not in parts["Returns"] and name in RETURNS:
        parts["Returns"] += f"\n    {RETURNS[name][1]}"
    if "Examples" not in parts:
        parts["Examples"] = EXAMPLES.get(function.__module__.rpartition(".")[0], {}).get(name, "")
    function.__doc__ = assembled(parts)


def arguments(function: Any, chosen: list[inspect.Parameter]) -> str:
    """The section of parameters for some arguments of a documented function, or nothing."""
    own = sections(function.__doc__ or "").get("Parameters", "")
    text = parameters(function.__name__, listed(chosen), own, PARAMETERS)
    return f"Parameters\n----------\n{text}\n\n" if text else ""


def as_function(method: Any, function: Any) -> None:
    """Give a function of a tensor the signature and docstring of the tensor's method."""
    signature = inspect.signature(method)
    first = inspect.Parameter("input", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    function.__signature__ = signature.replace(
        parameters=[first, *list(signature.parameters.values())[1:]]
    )
    parts = sections(method.__doc__ or "")
    rest = parts.get("Parameters", "")
    parts["Parameters"] = "\n".join(filter(None, [f"input : {_LIKE}\n    The tensor.", rest]))
    function.__doc__ = assembled(parts)


def complete(namespace: dict[str, Any]) -> None:
    """Complete the docstrings of a module's public functions and of the methods of its classes."""
    here = namespace["__name__"]
    for name, value in list(namespace.items()):
        if isinstance(value, type) and value.__module__ == here:
            if not value.__flags__ & _IMMUTABLE:
                _complete_class(value)
        elif isinstance(value, FunctionType) and value.__module__ == here and name[0] != "_":
            documented(value)


def _complete_class(value: type) -> None:
    for name, member in list(vars(value).items()):
        function = getattr(member, "__func__", member)
        if name[0] != "_" and isinstance(function, FunctionType):
            if not function.__doc__:  # what it does anew, it does for the same reason
                above = (vars(base).get(name) for base in value.__mro__[1:])
                function.__doc__ = next((f.__doc__ for f in above if f and f.__doc__), None)
            documented(function)
    if value.__doc__ and value.__name__[0] != "_":
        documented(value)
