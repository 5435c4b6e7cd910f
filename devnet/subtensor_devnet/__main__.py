"""`python -m subtensor_devnet`: the same as the command `subtensor-devnet`."""

import sys

from subtensor_devnet.command import main

if __name__ == "__main__":
    sys.exit(main())
