"""What this machine's kernel lacks for a configuration: asked when it is checked, never by the
daemon, which says what the kernel refuses.

That is a warning and no error: a configuration is often checked where it will not run. Where nobody
knows what modules there are, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fastvrrp.config import Complaint, Reading, Severity
from fastvrrp.config.kernel_modules import IPVS, NeededModule


def kernel_complaints(reading: Reading) -> tuple[Complaint, ...]:
    """Of modules that are neither loaded nor to be found."""
    if not reading.modules:
        return ()
    from fastvrrp.kernel import modules

    if not (modules.are_listed() or modules.is_available(IPVS)):
        return ()
    return tuple(missing(reading.modules, modules.is_available))


def missing(
    needed: tuple[NeededModule, ...], is_available: Callable[[str], bool]
) -> Iterator[Complaint]:
    """Complaints of what is not available; where IPVS itself is not, of nothing else."""
    for module in needed:
        if is_available(module.name):
            continue
        remedy = f"install or load the module {module.name}"
        if module.name == IPVS:
            text = f"the kernel of this machine has no IPVS, which {module.what} needs; {remedy}"
        else:
            text = f"the kernel of this machine has no {module.what}; {remedy}"
        yield Complaint(module.place, Severity.WARNING, text, is_ours=True)
        if module.name == IPVS:
            return
