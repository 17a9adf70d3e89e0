#!/usr/bin/env python3
"""A client of the STM32 HID bootloader over the kernel's hidraw, written from the protocol alone: the
judge of the virtual boards. Plain on purpose: 16 reports, one answer, no second try.

    hid.py NODE info          which build answers: f1-1k, f1-2k or f4
    hid.py NODE flash FILE    the whole image from the application's start on, then starts it
    hid.py NODE reboot        leaves the bootloader
    hid.py TTY update FILE    flash, out of the firmware that runs there: touched at 1200 baud

NODE and TTY may be usbip:PORT, for a virtual board without a kernel in between.

With HID_SLEEPS=1 it takes the pauses of the tools that are common in the field: 0.1 s after the touch,
0.1 s before and after each look whether there is a device, 1 s after each attempt to open it, 0.5 ms after
each report and around each answer.
"""
import fcntl, glob, os, select, struct, sys, termios, time

import hid_usbip

COMMAND = b"BTLDCMD"
RESET_PAGES, REBOOT = b"\0", b"\1"
REPORT, ANSWER, KIB = 64, 8, 1024
SLEEPS = os.environ.get("HID_SLEEPS") == "1"


def pause(seconds):
    if SLEEPS:
        time.sleep(seconds)


class Hidraw:
    def __init__(self, node):
        self.fd = os.open(node, os.O_RDWR)

    def read(self, seconds):
        ready = select.select([self.fd], [], [], seconds)[0]
        return os.read(self.fd, REPORT) if ready else None

    def write(self, data):
        """hidraw wants the report's number first, which this device does not have: 0."""
        if os.write(self.fd, b"\0" + data) != REPORT + 1:
            sys.exit("a report was cut short")


class Loader:
    def __init__(self, node):
        usbip = node.startswith("usbip:")
        self.device = hid_usbip.Device(int(node[6:])) if usbip else Hidraw(node)
        pause(1)
        while self.answer(0.02):  # of somebody before us
            pass
        self.command(RESET_PAGES)
        reply = self.answer(0.5)
        self.build = {None: "f4", 2: "f1-1k", 3: "f1-2k"}.get(reply)
        if self.build is None:
            sys.exit("reset pages is answered by %02x" % reply)

    def answer(self, seconds):
        pause(0.0005)
        report = self.device.read(seconds)
        if report is None:
            return None
        pause(0.0005)
        if len(report) != ANSWER or report[:7] != COMMAND:
            sys.exit("no answer of this bootloader: " + report.hex())
        return report[7]

    def report(self, data):
        self.device.write(data)
        pause(0.0005)

    def command(self, code):
        self.report((COMMAND + code).ljust(REPORT, b"\0"))

    def flash(self, image):
        unit = 2 * KIB if self.build == "f1-2k" else KIB
        image += b"\xff" * (-len(image) % unit)
        expected = 3 if self.build == "f1-2k" else 2
        for at in range(0, len(image), KIB):
            for offset in range(at, at + KIB, REPORT):
                self.report(image[offset : offset + REPORT])
            code = self.answer(5)
            if code != expected:
                sys.exit("KiB %d is answered by %s" % (at // KIB, code))
        return len(image)

    def reboot(self):
        try:
            self.command(REBOOT)
        except OSError:
            pass  # it may leave before the transfer is over


def touch(tty):
    fd = os.open(tty, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    attributes = termios.tcgetattr(fd)
    attributes[4] = attributes[5] = termios.B1200
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
    fcntl.ioctl(fd, termios.TIOCMBIC, struct.pack("I", termios.TIOCM_DTR))
    os.close(fd)


def come_back(tty):
    """Touches it, and the hidraw node of what is on the same place of the bus then."""
    interface = os.path.realpath("/sys/class/tty/%s/device" % os.path.basename(tty))
    touch(tty)
    pause(0.1)
    for _ in range(40):
        time.sleep(0.1)
        if os.path.exists(interface):
            break
    pause(0.1)
    for _ in range(100):
        nodes = glob.glob(os.path.dirname(interface) + "/*/*/hidraw/hidraw*")
        node = "/dev/" + os.path.basename(nodes[0]) if nodes else ""
        if node and os.access(node, os.R_OK | os.W_OK):
            return node
        time.sleep(1 if SLEEPS else 0.1)
    sys.exit("no bootloader comes")


def main(node, action, *files):
    begun = time.monotonic()
    if action == "update" and node.startswith("usbip:"):
        hid_usbip.come_back(int(node[6:]), pause)
    elif action == "update":
        node = come_back(node)
    action = action.replace("update", "flash")
    loader = Loader(node)
    print(loader.build)
    if action == "flash":
        print("wrote", loader.flash(open(files[0], "rb").read()))
    if action in ("flash", "reboot"):
        loader.reboot()
    print("in %.2f s" % (time.monotonic() - begun))


main(*sys.argv[1:])
