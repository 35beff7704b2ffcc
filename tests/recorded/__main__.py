import sys

from recorded.runner import main

sys.exit(main())
