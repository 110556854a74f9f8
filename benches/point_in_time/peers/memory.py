"""How much memory processes took, as the kernel counted it: the highest resident set of each of a tree, summed."""

import os
from pathlib import Path


def peak(root: int | None = None) -> int | None:
    """Bytes of a process and those it started and that still live; None where there is no /proc."""
    if not Path("/proc/self/status").exists():
        return None
    return sum(high_water(process) for process in tree(os.getpid() if root is None else root))


def tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold anything; the parent is the second field after it.
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        children.setdefault(parent, []).append(int(status.parent.name))
    found = [root]
    for process in found:
        found.extend(children.get(process, []))
    return found


def high_water(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def size(text: str) -> int:
    """Bytes of a size such as 512MiB or 1GiB."""
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    return int(float(text[:-3]) * units[text[-3:]])
