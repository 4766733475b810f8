"""Builds every ext/NAME.pyx to fastvrrp._NAME.

A header that another module may cimport is fastvrrp/_NAME.pxd, where Cython looks for it by the
module's name. FASTVRRP_DEBUG=1 builds with C assertions, bounds checks and line tracing.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTVRRP_DEBUG") == "1"

DIRECTIVES: dict[str, object] = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": DEBUG,
    "linetrace": DEBUG,
    "embedsignature": True,
    "embedsignature.format": "python",
}
MACROS = [("CYTHON_TRACE_NOGIL", "1")] if DEBUG else [("CYTHON_WITHOUT_ASSERTIONS", "1")]
FLAGS = ["-O0", "-g", "-UNDEBUG"] if DEBUG else ["-O2", "-g0"]

# cythonize does not know that ext/NAME.pyx reads fastvrrp/_NAME.pxd, which stands in another
# folder, nor that it was given other directives.
CAUSES = [Path("setup.py"), *Path("fastvrrp").glob("*.pxd")]
LAST_CHANGE = max(cause.stat().st_mtime for cause in CAUSES)
IS_STALE = any(made.stat().st_mtime < LAST_CHANGE for made in Path("build/cython").rglob("*.c"))

extensions = [
    Extension(
        f"fastvrrp._{source.stem}",
        [str(source)],
        define_macros=[("_GNU_SOURCE", None), *MACROS],
        extra_compile_args=[*FLAGS, "-Wall", "-Wno-unused-function"],
    )
    for source in sorted(Path("ext").glob("*.pyx"))
]

setup(
    data_files=[
        ("share/man/man5", ["docs/man/fastvrrp.conf.5"]),
        ("share/man/man8", ["docs/man/fastvrrp.8"]),
    ],
    options={"build_ext": {"parallel": os.cpu_count()}},
    ext_modules=cythonize(
        extensions,
        build_dir="build/cython",
        compiler_directives=DIRECTIVES,
        emit_linenums=DEBUG,
        force=DEBUG or IS_STALE,
    ),
)
