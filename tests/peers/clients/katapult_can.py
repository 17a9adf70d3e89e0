#!/usr/bin/env python3
"""A client of the Katapult loader on a CAN bus, on top of katapult.py: node ids and frames, written from
the protocol alone. One packet, one answer. IF is an interface, or unix:PATH.

    katapult_can.py IF query                 `UUID Katapult|Klipper` for each node that has no id
    katapult_can.py IF UUID request          asks a Klipper node for its bootloader
    katapult_can.py IF UUID info             as katapult.py
    katapult_can.py IF UUID flash FILE
    katapult_can.py IF UUID verify FILE
    katapult_can.py IF UUID complete
    katapult_can.py IF UUID update FILE      flash, verify and complete in one session

KATAPULT_SLEEPS=1 takes the pauses of the tool that is common in the field: 1.0 s behind the request for
the bootloader, which it always sends, 0.5 s behind clearing and 0.5 s behind giving node ids.
"""
import os, sys, time

sys.dont_write_bytecode = True
import can
import katapult

ADMIN, ANSWER, NODE = 0x3F0, 0x3F1, 0x81
SLEEPS = os.environ.get("KATAPULT_SLEEPS") == "1"


class Bus(can.Bus):
    stream = b""

    def query(self):
        self.send(ADMIN, b"\x00")
        while (answer := self.frame(ANSWER, 0.5)) is not None:
            if answer[:1] == b"\x20":
                kind = "Katapult" if answer[7:] == b"\x11" else "Klipper"
                yield answer[1:7].hex(), kind

    def pause(self, seconds, at_least=0):
        time.sleep(seconds if SLEEPS else at_least)

    def connect(self, uuid):
        if SLEEPS:
            self.send(ADMIN, b"\x02" + uuid)
            self.pause(1.0)
        self.send(ADMIN, b"\x12")
        self.pause(0.5)
        self.send(ADMIN, b"\x11" + uuid + bytes([NODE]))
        self.pause(0.5, 0.02)  # data frames that come before it has taken the id are lost

    # What katapult.py wants of a port.
    def write(self, data):
        for at in range(0, len(data), 8):
            self.send(0x100 + 2 * NODE, data[at : at + 8])

    def read(self, count, seconds):
        end = time.monotonic() + seconds
        while len(self.stream) < count:
            data = self.frame(0x101 + 2 * NODE, end - time.monotonic())
            if data is None:
                break
            self.stream += data
        got, self.stream = self.stream[:count], self.stream[count:]
        return got


def main(interface, *words):
    begun = time.monotonic()
    bus = Bus(interface)
    if words[0] == "query":
        for uuid, kind in bus.query():
            print(uuid, kind)
        return
    uuid, action = bytes.fromhex(words[0]), words[1]
    if action == "request":
        return bus.send(ADMIN, b"\x02" + uuid)
    image = b"".join(open(name, "rb").read() for name in words[2:])
    bus.connect(uuid)
    node = katapult.Katapult(bus)
    identity = node.ask(0x16)
    if identity[:6] != uuid:
        sys.exit("the node says it is " + identity.hex())
    for step in ("flash", "verify", "complete") if action == "update" else (action,):
        katapult.perform(node, step, image)
    print("in %.2f s" % (time.monotonic() - begun))


main(*sys.argv[1:])
