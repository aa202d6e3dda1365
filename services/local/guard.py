"""Ends the processes of a cluster whose owner is gone, however it went.

Runs as a script. Reads a line `+PID` for each process that starts and `-PID` for each that has ended; when its input
ends, which it does with the owner, whatever is left is asked to stop, and killed where it does not.
"""

import os
import signal
import sys
import time

PATIENCE_SECONDS = 5.0


def main() -> None:
    """Follows the owner until it closes the pipe."""
    alive: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line[0] == "+":
            alive.add(pid)
        else:
            alive.discard(pid)
    end(alive)


def end(alive: set[int]) -> None:
    """Stops these processes; those that hang are woken up for it."""
    until = time.monotonic() + PATIENCE_SECONDS
    left = {pid for pid in alive if send(pid, signal.SIGTERM) and send(pid, signal.SIGCONT)}
    while left and time.monotonic() < until:
        time.sleep(0.05)
        left = {pid for pid in left if send(pid, 0)}
    for pid in left:
        send(pid, signal.SIGKILL)


def send(pid: int, number: int) -> bool:
    """Sends a signal; returns False where the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
