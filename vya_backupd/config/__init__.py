"""Configuration and credentials: one schema that validates, gives defaults and writes its own reference page."""
