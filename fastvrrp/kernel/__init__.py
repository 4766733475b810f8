"""What the daemon asks of the kernel and hears from it: mechanism, no policy of VRRP."""
