"""Load balancing with IPVS: virtual servers, their pools, and the health of what is in them."""
