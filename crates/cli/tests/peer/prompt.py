"""Runs a program in a terminal of its own, interrupts it at its prompt, and tells what became of both.

    prompt.py SIGNAL PROGRAM ARGUMENT...

SIGNAL is INT (typed as Ctrl-C) or TERM (sent). The last line is `exit CODE, echo on` or `..., echo off`.
"""

import os
import pty
import select
import signal
import sys
import termios
import time

PROMPT = b"Code shown by"
DEADLINE = 30  # seconds


def read_some(terminal):
    """What the program writes next; nothing where it has ended."""
    ready, _, _ = select.select([terminal], [], [], 1)
    try:
        return os.read(terminal, 4096) if ready else None
    except OSError:  # EIO: the other side is closed
        return b""


def main():
    kind, command = sys.argv[1], sys.argv[2:]
    main_side, terminal = pty.openpty()
    child = os.fork()
    if child == 0:
        os.close(main_side)
        os.login_tty(terminal)
        os.execv(command[0], command)
    seen, interrupted, until = b"", False, time.monotonic() + DEADLINE
    while time.monotonic() < until:
        seen += read_some(main_side) or b""
        if PROMPT in seen and not interrupted:
            interrupted = True
            if kind == "INT":
                os.write(main_side, b"\x03")
            else:
                os.kill(child, signal.SIGTERM)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
    else:
        os.kill(child, signal.SIGKILL)
        sys.exit("it did not end")
    # The terminal outlives the program, since this side holds it open too.
    echo = termios.tcgetattr(terminal)[3] & termios.ECHO
    print(f"exit {os.waitstatus_to_exitcode(status)}, echo {'on' if echo else 'off'}")


if __name__ == "__main__":
    main()
