"""The commands behind `ssmtl`: each a function that returns an exit code; heavy imports stay inside them."""
