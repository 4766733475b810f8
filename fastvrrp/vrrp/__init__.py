"""What a change of state does: addresses, announcements. When it changes is the engine's."""
