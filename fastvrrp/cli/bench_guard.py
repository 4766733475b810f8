"""What every part of `fastvrrp bench` needs: its modules, its rights, and to end well."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
from types import FrameType

EXTRA = "pip install 'fastvrrp[bench]'"


def guarded(
    command: object, arguments: argparse.Namespace, modules: list[str], needs_root: bool = False
) -> int:
    """Runs a command and says in one line what is missing or went wrong."""
    if getattr(arguments, "plot", None) is not None:
        modules = [*modules, "matplotlib"]
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        return refuse(f"{', '.join(missing)} missing: {EXTRA}")
    if needs_root and os.geteuid() != 0:
        return refuse("making network namespaces needs root (sudo)")
    from fastvrrp.bench.case import CaseError
    from fastvrrp.bench.kinds import DaemonError
    from fastvrrp.bench.network import NetworkError

    signal.signal(signal.SIGTERM, interrupted)
    try:
        assert callable(command)
        status: int = command(arguments)
    except (CaseError, DaemonError, NetworkError, OSError) as error:
        return refuse(str(error))
    except KeyboardInterrupt:
        print("\nInterrupted; everything is removed.", file=sys.stderr)
        return 130
    return status


def interrupted(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def refuse(why: str) -> int:
    print(f"fastvrrp bench: {why}", file=sys.stderr)
    return 1
