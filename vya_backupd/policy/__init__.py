"""Decisions: pure functions that say what and why. Clocks, disks and servers are other rooms; ``now`` is an argument."""
