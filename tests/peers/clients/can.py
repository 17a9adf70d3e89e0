#!/usr/bin/env python3
"""Frames on a CAN bus, as they are: the judge of the virtual bus. BUS is an interface, or unix:PATH.

    can.py BUS listen SECONDS    how many frames pass
    can.py BUS send ID BYTES     one frame, both in hexadecimal; then prints what comes for 1.5 s
"""
import errno, select, socket, struct, sys, time

ERROR = 0x20000000  # flag of an error frame
RAW_ERR_FILTER = 2  # linux/can/raw.h; Python knows no name for it


class Bus:
    def __init__(self, name):
        if name.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.socket.connect(name[5:])
        else:
            self.socket = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
<<<<<<< HEAD
            self.socket.setsockopt(socket.SOL_CAN_RAW, RAW_ERR_FILTER, 0x1FFFFFFF)
=======
            # CAN_RAW_ERR_FILTER of linux/can/raw.h; not every Python has its name
            self.socket.setsockopt(socket.SOL_CAN_RAW, 2, 0x1FFFFFFF)
>>>>>>> lab
            self.socket.bind((name,))

    def send(self, identifier, data):
        end = time.monotonic() + 1
        while True:
            try:
                return self.socket.send(struct.pack("<IB3x8s", identifier, len(data), data))
            except OSError as error:  # the interface's queue is full
                if error.errno != errno.ENOBUFS or time.monotonic() > end:
                    raise
                time.sleep(0.0002)

    def receive(self, end):
        """The next frame: identifier and data. None when the time is over."""
        left = end - time.monotonic()
        if left <= 0 or not select.select([self.socket], [], [], left)[0]:
            return None
        packet = self.socket.recv(64)
        if not packet:
            sys.exit("the bus hung up")
        identifier, length, data = struct.unpack("<IB3x8s", packet)
        return identifier, data[:length]

    def frame(self, identifier, seconds):
        """The data of the next frame with that identifier, or None."""
        end = time.monotonic() + seconds
        while (got := self.receive(end)) is not None:
            if got[0] == identifier:
                return got[1]


def main(name, action, *words):
    bus, count = Bus(name), 0
    if action == "send":
        bus.send(int(words[0], 16), bytes.fromhex(words[1]))
    end = time.monotonic() + (float(words[0]) if action == "listen" else 1.5)
    while (got := bus.receive(end)) is not None:
        count += 1
        if action == "send":
            print("%s %03X %s" % ("error" if got[0] & ERROR else "frame", got[0], got[1].hex()))
    print("frames", count)


if __name__ == "__main__":
    main(*sys.argv[1:])
