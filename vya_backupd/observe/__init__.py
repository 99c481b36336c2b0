"""Observers of events: log and metrics. They may fail; that breaks nothing and is counted."""
