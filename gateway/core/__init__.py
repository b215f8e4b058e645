"""Everything that decides, and nothing that waits: no clock, no socket, no file, no log in this package."""
