"""Tests on a kernel of their own: user-mode Linux with what this host may lack."""
