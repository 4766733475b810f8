"""A VRRP router daemon for machines that carry thousands of virtual routers."""

__version__ = "0.1.0"
