"""A VRRP router daemon for machines that carry thousands of virtual routers."""

from importlib.metadata import version

__version__ = version("fastvrrp")
