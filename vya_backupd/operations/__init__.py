"""Use cases: each module reads like the page of a runbook that it implements."""
