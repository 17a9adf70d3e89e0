"""The same device without a kernel in between: HID reports and the 1200-baud touch over USB/IP (Linux
Documentation/usb/usbip_protocol.rst), for hid.py where NODE or TTY is usbip:PORT."""
import socket, struct, time

BUSID = b"1-1".ljust(32, b"\0")
CONFIGURE = bytes.fromhex("0009010000000000")
SET_CODING = bytes.fromhex("2120000000000700")
DROP_DTR = bytes.fromhex("2122000000000000")
RAISE_DTR = bytes.fromhex("2122010000000000")
SET_REPORT = bytes.fromhex("2109000200004000")
OUT, IN = 0, 1


def receive(link, count):
    got = b""
    while len(got) < count:
        more = link.recv(count - len(got))
        if not more:
            raise OSError("the device is gone")
        got += more
    return got


def command(port, code):
    link = socket.create_connection(("127.0.0.1", port), 5)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.sendall(struct.pack(">HHI", 0x0111, code, 0))
    return link


def product(port):
    """idVendor and idProduct of what is on the bus, or None."""
    with command(port, 0x8005) as link:
        if receive(link, 12)[11] == 0:
            return None
        return struct.unpack(">HH", receive(link, 312)[300:304])


class Device:
    """One that is taken; as a file as far as hid.py needs one."""

    def __init__(self, port):
        self.link = command(port, 0x8003)
        self.link.sendall(BUSID)
        record = receive(self.link, 320)
        self.devid = 0x10000 | struct.unpack(">I", record[8 + 292 : 8 + 296])[0]
        self.seqnum, self.asked, self.answers = 0, None, []
        self.control(CONFIGURE)

    def submit(self, direction, endpoint, length, setup=bytes(8), data=b""):
        self.seqnum += 1
        self.link.sendall(struct.pack(">10I", 1, self.seqnum, self.devid, direction, endpoint, 0, length, 0, 0, 0)
                          + setup + data)
        return self.seqnum

    def reply(self):
        """What the next answer belongs to, with its data."""
        head = struct.unpack(">5IiI", receive(self.link, 48)[:28])
        inward = head[1] == self.asked
        return head[1], head[5], receive(self.link, head[6]) if inward else b""

    def control(self, setup, data=b""):
        wanted = self.submit(OUT, 0, len(data), setup, data)
        while True:
            seqnum, status, got = self.reply()
            if seqnum == wanted:
                if status:
                    raise OSError("refused: %d" % status)
                return
            self.asked = None
            self.answers.append(got)

    def write(self, report):
        self.control(SET_REPORT, report)

    def read(self, seconds):
        """The next report, or None. The question stays on its way, as the kernel leaves it."""
        if not self.answers:
            if self.asked is None:
                self.asked = self.submit(IN, 1, 8)
            self.link.settimeout(seconds)
            try:
                _, status, got = self.reply()
            except TimeoutError:
                return None
            finally:
                self.link.settimeout(5)
            self.asked = None
            if status:
                raise OSError("the device is gone: %d" % status)
            self.answers.append(got)
        return self.answers.pop(0)


def touch(port):
    device = Device(port)
    device.control(RAISE_DTR)
    device.control(SET_CODING, struct.pack("<IBBB", 1200, 0, 0, 8))
    try:
        device.control(DROP_DTR)
    except OSError:
        pass  # it may leave before the transfer is over


def come_back(port, pause):
    """Touches it, and takes what is there then."""
    before = product(port)
    touch(port)
    pause(0.1)
    for _ in range(200):
        pause(0.1)
        if product(port) not in (None, before):
            pause(0.1)
            return
        time.sleep(0.02)
    raise OSError("no bootloader comes")
