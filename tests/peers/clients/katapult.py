#!/usr/bin/env python3
"""A client of the Katapult loader (protocol.md), written from the protocol alone: the judge of the
virtual board. Plain on purpose: one packet, one answer, no second try that would hide a fault.

    katapult.py PORT BAUD info              name, protocol, start, version
    katapult.py PORT BAUD flash FILE        every block from the start on, then the end
    katapult.py PORT BAUD verify FILE       reads back and compares
    katapult.py PORT BAUD complete          starts the application
    katapult.py PORT BAUD request           asks a Klipper on a UART for its bootloader
    katapult.py PORT BAUD touch             the same on USB, by 1200 baud
    katapult.py PORT BAUD dictionary FILE   Klipper's dictionary must lie in FILE
"""
import fcntl, os, select, struct, sys, termios, time, zlib

TCGETS2, TCSETS2, BOTHER = 0x802C542A, 0x402C542B, 0o10000


class Port:
    def __init__(self, path, baud):
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.rate(baud)
        termios.tcflush(self.fd, termios.TCIFLUSH)

    def rate(self, baud):
        raw = bytearray(fcntl.ioctl(self.fd, TCGETS2, bytes(44)))
        flags = termios.CS8 | termios.CREAD | termios.CLOCAL | BOTHER
        struct.pack_into("4I", raw, 0, 0, 0, flags, 0)
        struct.pack_into("2I", raw, 36, baud, baud)
        fcntl.ioctl(self.fd, TCSETS2, bytes(raw))

    def write(self, data):
        while data:
            select.select([], [self.fd], [], 5)
            data = data[os.write(self.fd, data):]

    def read(self, count, seconds):
        got, end = b"", time.monotonic() + seconds
        while len(got) < count:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                break
            got += os.read(self.fd, count - len(got))
        return got


def crc16(data):  # CRC-16/MCRF4XX
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc


class Katapult:
    def __init__(self, port):
        self.port = port
        for _ in range(20):
            self.send(0x11)
            answer = self.receive(0.1)
            if answer:
                break
        else:
            sys.exit("no answer to CONNECT")
        while self.receive(0.2):  # answers to the CONNECTs before
            pass
        kind, payload = answer
        command, protocol, self.start, self.block = struct.unpack_from("<4I", payload)
        if (kind, command) != (0xA0, 0x11):
            sys.exit("CONNECT is answered by %02x" % kind)
        names = [part.decode() for part in payload[16:].split(b"\0") if part]
        self.mcu, self.version = (names + [""])[:2]
        self.protocol = "%d.%d.%d" % (protocol >> 16 & 255, protocol >> 8 & 255, protocol & 255)

    def send(self, command, payload=b""):
        body = bytes([command, len(payload) // 4]) + payload
        self.port.write(b"\x01\x88" + body + struct.pack("<H", crc16(body)) + b"\x99\x03")

    def receive(self, seconds):
        head = self.port.read(4, seconds)
        if not head:
            return None
        if len(head) < 4 or head[:2] != b"\x01\x88":
            sys.exit("no packet: " + head.hex())
        rest = self.port.read(head[3] * 4 + 4, 1)
        payload, crc, trailer = rest[:-4], rest[-4:-2], rest[-2:]
        if crc != struct.pack("<H", crc16(head[2:] + payload)) or trailer != b"\x99\x03":
            sys.exit("broken packet: " + (head + rest).hex())
        return head[2], payload

    def ask(self, command, payload=b"", seconds=5):
        self.send(command, payload)
        kind, reply = self.receive(seconds) or (0, b"")
        if kind != 0xA0 or reply[:4] != struct.pack("<I", command):
            sys.exit("%02x %s is answered by %02x" % (command, payload[:4].hex(), kind))
        return reply[4:]

    def blocks(self, image):
        image += b"\xff" * (-len(image) % self.block)
        for at in range(0, len(image), self.block):
            yield struct.pack("<I", self.start + at), image[at : at + self.block]


def dictionary(port, image):
    got, sequence, data = b"", 0, b"?"
    while data:
        at = len(got)
        offset = bytes([0x80 | at >> shift & 127 for shift in (14, 7)]) + bytes([at & 127])
        offset = offset if at >= 12288 else offset[1:] if at >= 96 else offset[2:]
        body = bytes([7 + len(offset), 0x10 | sequence, 1]) + offset + b"\x28"
        port.write(body + struct.pack(">H", crc16(body)) + b"\x7e")
        answer = port.read(1, 1)
        answer += port.read(answer[0] - 1 if answer else 0, 1)
        if len(answer) == 5 and answer[1] != 0x10 | (sequence + 1 & 15):
            sequence = answer[1] & 15  # it counts from elsewhere
            continue
        if len(answer) < 5 + 2 + len(offset) or answer[3 : 3 + len(offset)] != offset:
            sys.exit("identify %d: %s" % (at, answer.hex()))
        if crc16(answer[:-3]) != int.from_bytes(answer[-3:-1], "big") or port.read(5, 1)[-1:] != b"\x7e":
            sys.exit("broken block: " + answer.hex())
        data = answer[4 + len(offset) : -3]
        got, sequence = got + data, sequence + 1 & 15
    if got not in image or b"Klipper" not in zlib.decompress(got):
        sys.exit("the dictionary of %d bytes is not the image's" % len(got))
    print("dictionary of %d bytes" % len(got))


def perform(node, action, image):
    print(action, node.mcu, node.protocol, "0x%08x" % node.start, node.block, node.version)
    for address, data in node.blocks(image):
        if action == "flash" and node.ask(0x12, address + data) != address:
            sys.exit("another block was acknowledged")
        if action == "verify" and node.ask(0x14, address) != address + data:
            sys.exit("differs at " + address[::-1].hex())
    if action == "flash":
        print("pages", int.from_bytes(node.ask(0x13), "little"))
    if action == "complete":
        node.ask(0x15)


def main(path, baud, action, *files):
    port, image = Port(path, int(baud)), b"".join(open(f, "rb").read() for f in files)
    if action == "request":
        port.write(b"~ \x1c Request Serial Bootloader!! ~")
        return termios.tcdrain(port.fd)
    if action == "touch":
        return port.rate(1200)  # closing drops DTR
    if action == "dictionary":
        return dictionary(port, image)
    perform(Katapult(port), action, image)


if __name__ == "__main__":
    main(*sys.argv[1:])
