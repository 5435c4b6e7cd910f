"""`python -m assay`: for `torchrun`, and where no script is installed."""

from assay.cli.entry import main

main()
