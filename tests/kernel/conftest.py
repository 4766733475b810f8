"""Tests under guest/ are for the guest; this host runs them there (test_user_mode_linux)."""

import os

collect_ignore = [] if "FASTVRRP_GUEST" in os.environ else ["guest"]
