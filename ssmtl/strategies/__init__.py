"""How a task learns from a batch: one file per method."""
