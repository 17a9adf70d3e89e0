#!/usr/bin/env python3
"""A client of a USB/IP server (Linux Documentation/usb/usbip_protocol.rst), written from the protocol
alone: the judge of the virtual boards' server. Byte for byte: every answer is compared whole.

    usbip.py PORT CHECK     exit status 0, or 1 with what was wrong

The device must be a virtual Katapult port of an STM32G0B1 (1d50:6177).
"""
import os, signal, socket, struct, sys, time

PATIENCE = 5
BUSID = b"1-1".ljust(32, b"\0")
LIST = bytes.fromhex("0111800500000000")
IMPORT = bytes.fromhex("0111800300000000")
DEVICE = bytes.fromhex("1201000202000040501d7761000101020301")
GET_DEVICE = bytes.fromhex("8006000100001200")
CONFIGURE = bytes.fromhex("0009010000000000")
SET_CODING = bytes.fromhex("2120000000000700")
UNKNOWN = bytes.fromhex("c0aa000000000100")
CONNECT = bytes.fromhex("01881100f17c9903")


def connect(port):
    link = socket.create_connection(("127.0.0.1", port), PATIENCE)
    link.settimeout(PATIENCE)
    return link


def receive(link, count):
    got = b""
    while len(got) < count:
        more = link.recv(count - len(got))
        if not more:
            raise EOFError(f"closed after {len(got)} of {count} bytes: {got.hex()}")
        got += more
    return got


def closed(link):
    try:
        return link.recv(1) == b""
    except ConnectionResetError:
        return True


def same(got, wanted, what):
    if got != wanted:
        sys.exit(f"{what}:\n  got    {got.hex()}\n  wanted {wanted.hex()}")


def record(number, configuration=0):
    path = b"/sys/devices/virtual/vboard/1-1".ljust(256, b"\0")
    numbers = struct.pack(">IIIHHH6B", 1, number, 2, 0x1D50, 0x6177, 0x0100,
                          2, 0, 0, configuration, 1, 2)
    return path + BUSID + numbers


def number_of(port):
    """The device's number on the bus; None while it is away."""
    with connect(port) as link:
        link.sendall(LIST)
        head = receive(link, 12)
        same(head[:8], bytes.fromhex("0111000500000000"), "list")
        if head[11] == 0:
            return None
        return struct.unpack(">I", receive(link, 320)[292:296])[0]


def await_device(port):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        number = number_of(port)
        if number:
            return number
        time.sleep(0.02)
    sys.exit("the device does not come back")


class Import:
    def __init__(self, port):
        self.number = await_device(port)
        self.seqnum = 0
        self.link = connect(port)
        self.link.sendall(IMPORT + BUSID)
        same(receive(self.link, 320), bytes.fromhex("0111000300000000") + record(self.number),
             "import")

    def header(self, direction, endpoint, length, setup=bytes(8), seqnum=None, devid=None,
               command=1, packets=0):
        self.seqnum += 1
        return struct.pack(">10I", command, self.seqnum if seqnum is None else seqnum,
                           0x10000 | self.number if devid is None else devid,
                           direction, endpoint, 0, length, 0, packets, 0) + setup

    def submit(self, direction, endpoint, length, setup=bytes(8), data=b"", **other):
        self.link.sendall(self.header(direction, endpoint, length, setup, **other) + data)
        return self.seqnum

    def unlink(self, seqnum):
        self.seqnum += 1
        self.link.sendall(struct.pack(">6I", 2, self.seqnum, 0x10000 | self.number, 0, 0, seqnum)
                          + bytes(24))
        return self.seqnum

    def submitted(self, seqnum, status, actual, data=b""):
        wanted = struct.pack(">5IiI5I", 3, seqnum, 0, 0, 0, status, actual, 0, 0, 0, 0, 0) + data
        same(receive(self.link, len(wanted)), wanted, f"answer to {seqnum}")

    def unlinked(self, seqnum, status):
        same(receive(self.link, 48), struct.pack(">5Ii", 4, seqnum, 0, 0, 0, status) + bytes(24),
             f"unlinked by {seqnum}")

    def control(self, setup, status, data=b"", out=b""):
        direction = setup[0] >> 7
        length = struct.unpack("<H", setup[6:8])[0]
        seqnum = self.submit(direction, 0, length, setup, out)
        self.submitted(seqnum, status, len(data) if direction else len(out), data)

    def configure(self):
        self.control(CONFIGURE, 0)


def check_list(port):
    with connect(port) as link:
        link.sendall(LIST)
        wanted = bytes.fromhex("011100050000000000000001") + record(number_of(port))
        wanted += bytes.fromhex("02020100" "0a000000")
        same(receive(link, len(wanted)), wanted, "list")
        if not closed(link):
            sys.exit("the connection stays open after a list")


def check_refusals(port):
    for what, request, answer in (
        ("another version", bytes.fromhex("0106800500000000"), b""),
        ("unknown operation", bytes.fromhex("0111800700000000"), b""),
        ("unknown bus id", IMPORT + b"1-2".ljust(32, b"\0"), bytes.fromhex("0111000300000004")),
        ("bus id without an end", IMPORT + b"1" * 32, bytes.fromhex("0111000300000004")),
    ):
        with connect(port) as link:
            link.sendall(request)
            if answer:
                same(receive(link, 8), answer, what)
            if not closed(link):
                sys.exit(f"{what}: the connection stays open")


def check_busy(port):
    first = Import(port)
    with connect(port) as link:
        link.sendall(IMPORT + BUSID)
        same(receive(link, 8), bytes.fromhex("0111000300000002"), "second import")
        if not closed(link):
            sys.exit("the second importer stays connected")
    first.control(GET_DEVICE, 0, DEVICE)


def check_worked_packets(port):
    """usbip.md, worked packets: the same fields, with this device's requests."""
    urb = Import(port)
    same(urb.header(1, 0, 18, GET_DEVICE),
         bytes.fromhex("00000001 00000001") + struct.pack(">I", 0x10000 | urb.number)
         + bytes.fromhex("00000001 00000000 00000000 00000012 00000000 00000000 00000000"
                         "8006000100001200"), "my own header")
    urb.seqnum = 4
    urb.control(GET_DEVICE, 0, DEVICE)
    urb.control(UNKNOWN, -32)
    urb.configure()
    urb.control(SET_CODING, 0, out=bytes.fromhex("00c20100000008"))
    pending = urb.submit(1, 1, 512)
    urb.unlinked(urb.unlink(pending), -104)
    urb.unlinked(urb.unlink(pending), 0)
    urb.unlinked(urb.unlink(4711), 0)


def check_stall(port):
    urb = Import(port)
    urb.submitted(urb.submit(0, 2, 1, data=b"x"), -32, 0)  # not configured
    urb.configure()
    urb.control(bytes.fromhex("0203000002000000"), 0)  # SET_FEATURE(ENDPOINT_HALT)
    urb.submitted(urb.submit(0, 2, 1, data=b"x"), -32, 0)
    urb.submitted(urb.submit(0, 2, 1, data=b"x"), -32, 0)
    urb.control(bytes.fromhex("0201000002000000"), 0)  # CLEAR_FEATURE
    urb.submitted(urb.submit(0, 2, 1, data=b"x"), 0, 1)


def check_pending(port):
    """Submits of an endpoint are answered in order, and a control transfer between them at once."""
    urb = Import(port)
    urb.configure()
    first = urb.submit(1, 1, 64)
    second = urb.submit(1, 1, 64, packets=0xFFFFFFFF)
    urb.control(GET_DEVICE, 0, DEVICE)
    # An STM32G0 holds its first packet back until it has a second one.
    lengths = {urb.submit(0, 2, 8, data=CONNECT): 0, urb.submit(0, 2, 8, data=CONNECT): 0,
               first: 1, second: 1}
    order = []
    while len(order) < 4:
        head = receive(urb.link, 48)
        seqnum, actual = struct.unpack(">I", head[4:8])[0], struct.unpack(">I", head[24:28])[0]
        same(head[:24], struct.pack(">5Ii", 3, seqnum, 0, 0, 0, 0), "an answer")
        receive(urb.link, actual * lengths[seqnum])
        order.append(seqnum)
    if order.index(first) > order.index(second) or sorted(order) != sorted(lengths):
        sys.exit(f"answered in this order: {order}")


def check_host_errors(port):
    for what, arguments in (
        ("wrong devid", dict(direction=1, endpoint=0, length=18, setup=GET_DEVICE, devid=0x10063)),
        ("direction 2", dict(direction=2, endpoint=0, length=18, setup=GET_DEVICE)),
        ("endpoint 16", dict(direction=1, endpoint=16, length=18)),
        ("more than 1 MiB", dict(direction=1, endpoint=1, length=(1 << 20) + 1)),
        ("isochronous", dict(direction=1, endpoint=1, length=64, packets=4)),
        ("IN setup, OUT header", dict(direction=0, endpoint=0, length=18, setup=GET_DEVICE,
                                      data=bytes(18))),
        ("OUT setup, IN header", dict(direction=1, endpoint=0, length=7, setup=SET_CODING)),
        ("length that is not wLength", dict(direction=0, endpoint=0, length=6, setup=SET_CODING,
                                            data=bytes(6))),
        ("unknown command", dict(direction=1, endpoint=0, length=18, setup=GET_DEVICE, command=5)),
    ):
        urb = Import(port)
        urb.configure()
        urb.submit(**arguments)
        if not closed(urb.link):
            sys.exit(f"{what}: the connection stays open")
    urb = Import(port)
    urb.configure()
    urb.submit(1, 1, 64)
    urb.submit(1, 1, 64, seqnum=urb.seqnum)
    if not closed(urb.link):
        sys.exit("seqnum used twice: the connection stays open")


def check_bus_reset(port):
    urb = Import(port)
    urb.configure()
    pending = urb.submit(1, 1, 64)
    urb.control(GET_DEVICE, 0, DEVICE)  # 18 bytes: no reset
    enumeration = bytes.fromhex("8006000100004000")
    seqnum = urb.submit(1, 0, 64, enumeration)
    urb.submitted(pending, -104, 0)
    urb.submitted(seqnum, 0, 18, DEVICE)
    urb.control(bytes.fromhex("8008000000000100"), 0, b"\0")  # GET_CONFIGURATION
    urb.configure()
    urb.control(bytes.fromhex("2303040001000000"), 0)  # a hub's port reset
    urb.control(bytes.fromhex("8008000000000100"), 0, b"\1")


def check_unplugged(port):
    """The host goes in the middle; the device is still itself, and not configured."""
    urb = Import(port)
    urb.configure()
    urb.submit(1, 1, 64)
    urb.link.close()
    again = Import(port)
    if again.number != urb.number:
        sys.exit("an unplugged host is no new enumeration")
    again.control(bytes.fromhex("8008000000000100"), 0, b"\0")


def check_reset_button(port):
    urb = Import(port)
    urb.configure()
    os.kill(int(os.environ["BOARD"]), signal.SIGHUP)
    if not closed(urb.link):
        sys.exit("the connection outlives the device")
    pressed = time.monotonic()
    if number_of(port):
        sys.exit("the device is listed while it is away")
    number = await_device(port)
    away = time.monotonic() - pressed
    if number == urb.number:
        sys.exit("it came back with the same number")
    if not 0.2 < away < 2:
        sys.exit(f"it was away for {away:.3f} s")


def check_slow_writer(port):
    """A request in single bytes is a request."""
    number = await_device(port)
    link = connect(port)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = struct.pack(">10I", 1, 1, 0x10000 | number, 1, 0, 0, 18, 0, 0, 0) + GET_DEVICE
    for byte in IMPORT + BUSID:
        link.sendall(bytes([byte]))
    receive(link, 320)
    for byte in head:
        link.sendall(bytes([byte]))
    same(receive(link, 48)[:28], struct.pack(">5IiI", 3, 1, 0, 0, 0, 0, 18), "answer")
    same(receive(link, 18), DEVICE, "descriptor")


checks = {name[6:]: call for name, call in list(globals().items()) if name.startswith("check_")}
if len(sys.argv) == 2 and sys.argv[1] == "names":
    print(*checks, sep="\n")
else:
    checks[sys.argv[2]](int(sys.argv[1]))
