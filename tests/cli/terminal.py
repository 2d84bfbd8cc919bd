"""terminal.py PROGRAM [WORD...]: runs a program on a terminal of its own, as standard input says:
lines "expect TEXT", "type TEXT" (when the program edits a line, which begins after the prompt has
been shown) and "send TEXT" (at once), in which backslashes are Python's. Prints what was shown, and
exits with the program's status, or 99 when something did not come within ten seconds."""
import os
import pty
import select
import sys
import termios
import time


def main():
    steps = [line.rstrip("\n").split(" ", 1) for line in sys.stdin]
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "dumb"
        os.execv(sys.argv[1], sys.argv[1:])
    shown, at = "", 0

    def more(deadline):
        nonlocal shown
        if not select.select([fd], [], [], max(0, deadline - time.monotonic()))[0]:
            return None
        try:
            got = os.read(fd, 4096)
        except OSError:
            return False
        shown += got.decode(errors="replace").replace("\r", "")
        return bool(got)

    def editing():
        return not termios.tcgetattr(fd)[3] & termios.ICANON

    status = 0
    for what, text in steps + [["end", ""]]:
        text = text.encode().decode("unicode_escape")
        if what in ("send", "type"):
            deadline = time.monotonic() + 10
            while what == "type" and not editing() and time.monotonic() < deadline:
                time.sleep(0.001)  # nothing tells
            os.write(fd, text.encode())
            continue
        deadline = time.monotonic() + 10
        while what == "end" or text not in shown[at:]:
            state = more(deadline)
            if state is None or (state is False and what != "end"):
                sys.stderr.write("not shown: %r\n" % text)
                status = 99
            if not state:
                break
        if what == "expect" and status == 0:
            at = shown.index(text, at) + len(text)
        if status:
            os.kill(pid, 9)
            break
    sys.stdout.write(shown)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    sys.exit(status or (128 - ended if ended < 0 else ended))


main()
