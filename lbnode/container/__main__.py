"""Process 1 of a container: `python -m lbnode.container node`, or `backend -- SERVICE…`."""

import signal
import sys

if __name__ == "__main__":
    # What process 1 is sent and neither handles nor blocks, the kernel throws away: block before all else.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    from lbnode.container.start import main

    sys.exit(main(sys.argv[1:]))
