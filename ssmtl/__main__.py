"""`python -m ssmtl` is the command `ssmtl`."""

from ssmtl.cli import main

main()
