"""`python -m rerankd`: the same program as `rerankd`."""

import sys

from rerankd.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
