#!/usr/bin/env python3
"""echo.py PORT: a CDC-ACM device behind USB/IP that echoes what it is sent; for the tests of the USB link.

Requests of its own: a1 03 answers 00 00 00 00 02 00, 41 77 leaves the bus; what it does not know it stalls.
Document: Linux Documentation/usb/usbip_protocol.rst.
"""
import socket
import struct
import sys
import threading

DEVICE = bytes.fromhex("1201000202000040") + struct.pack("<HHHBBBB", 0x1D50, 0x614E, 0x100, 1, 2, 3, 1)
CONFIGURATION = bytes.fromhex(
    "09023e00020100c032" "090400000102020100" "0524001001" "04240206" "0524060001" "07058103080010"
    "09040100020a000000" "07050202400000" "07058302400000")
STRINGS = [bytes.fromhex("04030904")] + [
    bytes([2 * len(text) + 2, 3]) + text.encode("utf-16-le") for text in ("Maker", "Echo", "E1")]
RECORD = (bytes(256) + b"1-1" + bytes(29) + struct.pack(">III", 1, 2, 2) +
          struct.pack(">HHH", 0x1D50, 0x614E, 0x100) + bytes([2, 0, 0, 0, 1, 2]))


class Device:
    def __init__(self, connection):
        self.connection = connection
        self.echo = b""
        self.pending = []  # (seqnum, endpoint, length)
        self.configuration = 0

    def read(self, length):
        data = b""
        while len(data) < length:
            part = self.connection.recv(length - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def answer(self, seqnum, status, data=b"", actual=None):
        self.connection.sendall(struct.pack(
            ">IIIIIiIIII", 3, seqnum, 0, 0, 0, status, len(data) if actual is None else actual, 0, 0, 0) + bytes(8) + data)

    def unlink(self, seqnum, other):
        kept = [entry for entry in self.pending if entry[0] != other]
        status = 0 if len(kept) == len(self.pending) else -104
        self.pending = kept
        self.connection.sendall(struct.pack(">IIIIIi", 4, seqnum, 0, 0, 0, status) + bytes(24))

    def control(self, seqnum, setup, length):
        kind, request, value, _, _ = struct.unpack("<BBHHH", setup)
        data = None
        if (kind, request) == (0x80, 6):
            index = value & 255
            data = {1: DEVICE, 2: CONFIGURATION}.get(value >> 8)
            if value >> 8 == 3 and index < len(STRINGS):
                data = STRINGS[index]
        elif (kind, request) == (0x80, 8):
            data = bytes([self.configuration])
        elif (kind, request) == (0x80, 0):
            data = bytes(2)
        elif (kind, request) == (0xA1, 3):
            data = bytes([0, 0, 0, 0, 2, 0])
        elif (kind, request) == (0xA1, 0x21):
            data = bytes(7)
        elif (kind, request) == (0x41, 0x77):
            raise EOFError
        if data is not None:
            self.answer(seqnum, 0, data[:length])
        elif kind in (0, 1, 2) or (kind == 0x21 and request in (0x20, 0x22)):
            if (kind, request) == (0, 9):
                self.configuration = value
            self.answer(seqnum, 0, b"", length)
        else:
            self.answer(seqnum, -32)

    def move(self):
        for entry in [entry for entry in self.pending if entry[1] == 3]:
            if not self.echo:
                return
            self.pending.remove(entry)
            self.answer(entry[0], 0, self.echo[:entry[2]])
            self.echo = self.echo[entry[2]:]

    def live(self):
        while True:
            head = self.read(48)
            command, seqnum, _, into, endpoint, _, length = struct.unpack(">IIIIIII", head[:28])
            if command == 2:
                self.unlink(seqnum, struct.unpack(">I", head[20:24])[0])
                continue
            data = b"" if into else self.read(length)
            if endpoint == 0:
                self.control(seqnum, head[40:48], length)
            elif into:
                self.pending.append((seqnum, endpoint, length))
            else:
                self.echo += data
                self.answer(seqnum, 0, b"", len(data))
            self.move()


def serve(connection):
    device = Device(connection)
    try:
        code = struct.unpack(">HHI", device.read(8))[1]
        if code == 0x8005:
            connection.sendall(struct.pack(">HHII", 0x111, 5, 0, 1) + RECORD + bytes([2, 2, 1, 0, 10, 0, 0, 0]))
        if code == 0x8003:
            device.read(32)
            connection.sendall(struct.pack(">HHI", 0x111, 3, 0) + RECORD)
            device.live()
    except (EOFError, OSError):
        pass
    connection.close()


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
while True:
    client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=serve, args=(client,), daemon=True).start()
