#!/usr/bin/env python3
"""Nodes on a CAN bus, Katapult's and Klipper's, from the protocol (protocol.md, CANBUS_protocol.md)
alone: the judge of the virtual bus. BUS is an interface, or unix:PATH.

    can.py BUS query                    every node that has no id: UUID and what it runs
    can.py BUS info UUID...             assigns ids, connects, and asks each who it is
    can.py BUS flash FILE UUID...       every block from the start on, then the end
    can.py BUS verify FILE UUID...      reads back and compares
    can.py BUS complete UUID...         starts the application
    can.py BUS jump UUID...             asks a running Klipper for its bootloader
    can.py BUS listen SECONDS           how many frames pass, and whether the bus ends
    can.py BUS send ID BYTES            one frame, both in hexadecimal; then prints what comes, 1 s
"""
import os, select, socket, struct, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from katapult import Katapult

ADMIN, ANSWERS, NODES = 0x3F0, 0x3F1, 0x100
QUERY, JUMP, ASSIGN, CLEAR = 0x00, 0x02, 0x11, 0x12


class Bus:
    def __init__(self, name):
        if name.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.socket.connect(name[5:])
        else:
            self.socket = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
            self.socket.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_ERR_FILTER, 0x1FFFFFFF)
            self.socket.bind((name,))

    def send(self, ident, data):
        self.socket.send(struct.pack("=IB3x8s", ident, len(data), data))

    def receive(self, end):  # a frame, or None at the end of time
        left = end - time.monotonic()
        if left <= 0 or not select.select([self.socket], [], [], left)[0]:
            return None
        packet = self.socket.recv(64)
        if not packet:
            sys.exit("the bus hung up")
        ident, length = struct.unpack_from("=IB", packet)
        if ident & 0x20000000:
            print("error frame %08x %s" % (ident, packet[8 : 8 + length].hex()))
            return self.receive(end)
        return ident, packet[8 : 8 + length]


class Stream:
    """The bytes between the host and one node, as Katapult wants its port."""

    def __init__(self, bus, uuid, number):
        self.bus, self.to, self.left = bus, NODES + 2 * number, b""
        bus.send(ADMIN, bytes([ASSIGN]) + bytes.fromhex(uuid) + bytes([number]))
        time.sleep(0.02)

    def write(self, data):
        for at in range(0, len(data), 8):
            self.bus.send(self.to, data[at : at + 8])

    def read(self, count, seconds):
        end = time.monotonic() + seconds
        while len(self.left) < count:
            frame = self.bus.receive(end)
            if not frame:
                break
            if frame[0] == self.to + 1:
                self.left += frame[1]
        got, self.left = self.left[:count], self.left[count:]
        return got


def query(bus):
    tags, seen = {0x01: "Klipper", 0x11: "Katapult"}, []
    bus.send(ADMIN, bytes([QUERY]))
    end = time.monotonic() + 0.5
    while frame := bus.receive(end):
        if frame[0] == ANSWERS and len(frame[1]) == 8 and frame[1][0] == 0x20:
            seen.append("%s %s" % (frame[1][1:7].hex(), tags.get(frame[1][7], "?")))
    print("\n".join(sorted(seen)))


def listen(bus, seconds):
    count, end = 0, time.monotonic() + seconds
    while bus.receive(end):
        count += 1
    print("frames", count)


def show(bus, ident, data):
    bus.send(int(ident, 16), bytes.fromhex(data))
    end = time.monotonic() + 1
    while frame := bus.receive(end):
        print("%03X %s" % (frame[0], frame[1].hex()))


def work(bus, action, uuid, number, image):
    node = Katapult(Stream(bus, uuid, number))
    asked = node.ask(0x16)[:6].hex()
    if asked != uuid:
        sys.exit("%s says it is %s" % (uuid, asked))
    print(action, uuid, node.mcu, node.protocol, "0x%08x" % node.start, node.version)
    for address, data in node.blocks(image):
        if action == "flash" and node.ask(0x12, address + data) != address:
            sys.exit("another block was acknowledged")
        if action == "verify" and node.ask(0x14, address) != address + data:
            sys.exit("%s differs at %s" % (uuid, address[::-1].hex()))
    if action == "flash":
        print("pages", int.from_bytes(node.ask(0x13), "little"))
    if action == "complete":
        node.ask(0x15)


def main(name, action, *words):
    bus = Bus(name)
    if action == "query":
        return query(bus)
    if action == "listen":
        return listen(bus, float(words[0]))
    if action == "send":
        return show(bus, *words)
    if action == "jump":
        return [bus.send(ADMIN, bytes([JUMP]) + bytes.fromhex(uuid)) for uuid in words]
    image = b""
    if action in ("flash", "verify"):
        image, words = open(words[0], "rb").read(), words[1:]
    bus.send(ADMIN, bytes([CLEAR]))
    for n, uuid in enumerate(words):
        work(bus, action, uuid, 0x81 + n, image)


main(*sys.argv[1:])
