"""`net_namespace` of `global_defs`: the whole daemon is in one network namespace."""

from __future__ import annotations

from fastvrrp.kernel.netns import Namespace


def enter(name: str) -> None:
    """Has this process be in a network namespace from now on. Raises OSError."""
    try:
        namespace = Namespace(name)
    except FileNotFoundError as error:
        raise OSError(
            error.errno, f"net_namespace {name} does not exist: make it with ip netns add {name}"
        ) from None
    try:
        namespace.enter()
    finally:
        namespace.close()
