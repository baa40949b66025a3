"""Gates on a built wheel: its size with and without the CUDA twins, and that it bundles nothing.

``python tools/check_wheel.py dist/kernelmill-*.whl``
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

MEGABYTE = 10**6
CPU_LIMIT = 10 * MEGABYTE  # a download that nobody notices, also in serverless images
CUDA_LIMIT = 40 * MEGABYTE


def check(path: Path) -> list[str]:
    """What is wrong with the wheel, as sentences; prints the sizes."""
    wrong = []
    with zipfile.ZipFile(path) as wheel:
        entries = wheel.infolist()
    cuda = sum(e.compress_size for e in entries if Path(e.filename).name.startswith("_cuda."))
    total = path.stat().st_size
    for limit, size, what in (
        (CPU_LIMIT, total - cuda, "without the CUDA twins"),
        (CUDA_LIMIT, total, "in all"),
    ):
        print(f"{path.name}: {size / MEGABYTE:.2f} MB {what} (limit {limit // MEGABYTE} MB)")
        if size > limit:
            wrong.append(f"{path.name} must have at most {limit} bytes {what}, got {size}")
    modules = ("_isa.", "_runtime.", "_cpu_", "_cuda.")
    for entry in entries:
        name = Path(entry.filename).name
        shared = name.endswith((".dll", ".dylib")) or ".so" in name
        if shared and not name.startswith(modules):
            wrong.append(f"{path.name} must bundle no library, got {entry.filename}")
        if name.endswith((".cpp", ".hpp", ".cu", ".o")):
            wrong.append(f"{path.name} must hold no sources or objects, got {entry.filename}")
    return wrong


def main() -> int:
    """Check every wheel named on the command line."""
    wrong = [sentence for path in sys.argv[1:] for sentence in check(Path(path))]
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong or len(sys.argv) < 2 else 0


if __name__ == "__main__":
    sys.exit(main())
