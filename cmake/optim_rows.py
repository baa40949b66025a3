"""Writes optim_rows.inc: the rules of optim_table.py as C++ structs.

``python optim_rows.py <optim_table.py> <output>``. ``prepare`` makes the scalars of one array from
its options, in double; ``loop`` moves elements, where `kept` has a bit for each state: a constant
type or a number. Parameters and gradients may be stored in fewer bits than T, which states are kept
in and all is computed in. KERNELMILL_RULES(F) calls F(name) for all.
"""

import sys
from pathlib import Path

from elementwise_rows import LITERAL, write


def row(rule):
    """The struct of one rule."""
    options = rule.every_option
    prepare = [f"[[maybe_unused]] const double {name} = option[{i}];"
               for i, name in enumerate(options)]  # fmt: skip
    for name, expression in rule.scalars.items():
        wide = LITERAL.sub(r"double(\1)", expression)
        prepare += [f"const double {name} = {wide};"]
    prepare += [f"scalars[{i}] = {name};" for i, name in enumerate(rule.used)]
    setup = [f"const T {name} = T(scalars[{i}]);" for i, name in enumerate(rule.used)]
    load = ["T parameter = parameters[e];", "T gradient = scale * gradients[e];"]
    store = ["parameters[e] = static_cast<Stored>(parameter);"]
    for i, state in enumerate(rule.kept):
        setup += [f"const bool has_{state} = (kept >> {i} & 1U) != 0;"]
        setup += [f"[[maybe_unused]] T* const {state}_at = static_cast<T*>(kept_at[{i}]);"]
        load += [f"T {state} = T(0);", f"if (has_{state}) {state} = {state}_at[e];"]
        store += [f"if (has_{state}) {state}_at[e] = {state};"]
    load += [f"T {name};" for name in rule.locals]
    statements = [LITERAL.sub(r"T(\1)", f"{statement};") for statement in rule.statements]
    optional = sum(1 << i for i, state in enumerate(rule.states) if state.endswith("?"))
    break_line, break_deeper = "\n    ", "\n      "
    return f"""struct {rule.name} {{
  static constexpr char name[] = "{rule.name}", op[] = "optim.{rule.name}";
  static constexpr char states[] = "{" ".join(rule.kept)}", options[] = "{" ".join(options)}";
  static constexpr double defaults[] = {{{", ".join(map(repr, options.values()))}}};
  static constexpr unsigned optional = {optional};
  static constexpr int n_states = {len(rule.states)}, n_scalars = {len(rule.used)};
  static void prepare(const double* option, double* scalars) {{
    {break_line.join(prepare)}
  }}
  template <class T, class Kept, class Stored>
  KERNELMILL_LOOP static void loop([[maybe_unused]] Kept kept, Stored* parameters,
                                   const Stored* gradients, [[maybe_unused]] void* const* kept_at,
                                   const double* scalars, index_t begin, index_t end) {{
    {break_line.join(setup)}
    KERNELMILL_SIMD
    for (index_t e = begin; e < end; ++e) {{
      {break_deeper.join([*load, *statements, *store])}
    }}
  }}
}};
"""


def every(rules):
    """The macro over all rules."""
    return f"#define KERNELMILL_RULES(F) {' '.join(f'F({rule.name})' for rule in rules)}"


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), "TABLE", row, every)
