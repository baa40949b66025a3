"""Write the lists of torch's names into docs/from-torch.md: ``python tools/torch_names.py``.

Needs torch, and kernelmill on the path.
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "from-torch.md"
PACKAGES = {
    "torch": "kernelmill.nn",
    "torch.Tensor": "kernelmill.nn.Tensor",
    "torch.linalg": "kernelmill.nn.linalg",
    "torch.amp": "kernelmill.nn.amp",
    "torch.nn": "kernelmill.nn",
    "torch.nn.functional": "kernelmill.nn.functional",
    "torch.nn.init": "kernelmill.nn.init",
    "torch.nn.utils": "kernelmill.nn.utils",
    "torch.nn.utils.prune": "kernelmill.nn.utils.prune",
    "torch.optim": "kernelmill.nn.optim",
    "torch.optim.lr_scheduler": "kernelmill.nn.optim.lr_scheduler",
    "torch.utils.data": "kernelmill.nn.data",
    "torch.optim.swa_utils": "kernelmill.nn.optim.swa_utils",
}
MARKED = re.compile(r"(<!-- names.*?-->\n).*?(<!-- /names -->)", re.S)


def place(name: str) -> Any:
    """A module, or what a module holds."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        owner, _, last = name.rpartition(".")
        return getattr(importlib.import_module(owner), last)


def public(name: str) -> list[str]:
    """Classes, functions and submodules of a package of torch, without what it only imports."""
    package = place(name)
    if name == "torch.Tensor":
        return sorted(n for n in dir(package) if not n.startswith("_"))
    if name == "torch":  # functions alone: classes and submodules are asked for by themselves
        return sorted(
            n for n in dir(package)
            if not n.startswith("_") and not n[0].isupper() and callable(getattr(package, n))
            and not inspect.isclass(getattr(package, n))
        )  # fmt: skip
    names = []
    for one, value in sorted(vars(package).items()):
        if inspect.ismodule(value):
            theirs = value.__name__ == f"{name}.{one}"
        else:
            origin = str(getattr(value, "__module__", None) or "torch")
            imported = origin in ("torch", "torch.types") and one[0].isupper()
            theirs = callable(value) and origin.startswith("torch") and not imported
        if theirs and not one.startswith("_"):
            names.append(one)
    return names


def lists() -> str:
    """The two sections of the page."""
    from kernelmill.nn._torch_names import reason_of

    for theirs in PACKAGES:
        place(theirs)  # some packages know their submodules only once these are imported
    here, absent = [], {}
    for theirs, ours in PACKAGES.items():
        owner = place(ours)
        names = public(theirs)
        found = [n for n in names if hasattr(owner, n)]
        text = f"**{theirs}**: " + ", ".join(f"`{n}`" for n in found)
        here.append(textwrap.fill(text, 116, break_long_words=False, break_on_hyphens=False))
        absent.update(dict.fromkeys(n for n in names if n not in found))
    groups: dict[str | None, list[str]] = {}
    for name in sorted(absent):
        groups.setdefault(reason_of(name), []).append(name)
    rows = [
        f"| {reason} | {', '.join(f'`{n}`' for n in kept)} |"
        for reason, kept in sorted(groups.items(), key=str)
    ]
    return "\n".join([
        "## Names that exist", "", "\n\n".join(here), "",
        "## Names that do not exist", "",
        "Asking for one of them raises `AttributeError` with the reason.", "",
        "| reason | names |", "|---|---|", *rows, "",
    ])  # fmt: skip


def page() -> str:
    """The page with its lists brought up to date."""
    text = PAGE.read_text(encoding="utf-8")
    return MARKED.sub(lambda m: f"{m[1]}{lists()}{m[2]}", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
