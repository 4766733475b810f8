"""Processes: what runs, what starts it and what ends it."""
