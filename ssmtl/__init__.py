"""Train one vision model for several tasks when most images lack most labels."""
