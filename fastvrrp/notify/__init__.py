"""Who is told of a change of state: scripts, FIFOs and people with a mailbox."""
