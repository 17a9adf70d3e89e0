/*
 * The backend for real ports, on libserialport: it knows the drivers' ways with rates, parity and
 * modem lines. Its blocking calls start again after every signal and know no moment to end at, so
 * waiting is done on the port's descriptor.
 *
 * The node is opened twice: first by us, for a lock and for an error text worth reading, then by
 * libserialport. DTR rises once, at the first.
 */
#include "link/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <libserialport.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "link/descriptor.h"
#include "link/latency.h"

struct port {
    struct serial serial;
    struct sp_port *port;
    int lock; /* our own descriptor of the node */
    int fd;   /* libserialport's */
    struct latency latency;
};

/* A UART tolerates about 2 % on each side: a driver that set something else did not understand. */
static bool rates_agree(uint32_t wanted, int set)
{
    int64_t difference = (int64_t)set - (int64_t)wanted;
    return llabs(difference) * 100 <= (int64_t)wanted * 2;
}

static int refused_setting(struct serial *serial, const struct serial_settings *settings,
                           const char *why, struct error *err)
{
    static const char letters[] = {[PARITY_NONE] = 'N', [PARITY_EVEN] = 'E', [PARITY_ODD] = 'O'};
    error_set(err, ERR_FAILED, "setting %s to %u baud 8%c%u: %s", serial->name,
              (unsigned)settings->baud, letters[settings->parity], (unsigned)settings->stop_bits,
              why);
    error_hint(err, "the adapter or its driver cannot do this; another rate (--baud) or "
                    "another adapter may");
    return ERR_FAILED;
}

static int apply(const struct port *port, struct sp_port_config *config,
                 const struct serial_settings *settings)
{
    static const enum sp_parity parities[] = {[PARITY_NONE] = SP_PARITY_NONE,
                                              [PARITY_EVEN] = SP_PARITY_EVEN,
                                              [PARITY_ODD] = SP_PARITY_ODD};
    (void)sp_set_config_baudrate(config, (int)settings->baud);
    (void)sp_set_config_bits(config, 8);
    (void)sp_set_config_parity(config, parities[settings->parity]);
    (void)sp_set_config_stopbits(config, settings->stop_bits);
    /* Flow control off; said for all four, or CRTSCTS left over from another program stays. */
    (void)sp_set_config_rts(config, port->serial.rts ? SP_RTS_ON : SP_RTS_OFF);
    (void)sp_set_config_cts(config, SP_CTS_IGNORE);
    (void)sp_set_config_dtr(config, port->serial.dtr ? SP_DTR_ON : SP_DTR_OFF);
    (void)sp_set_config_dsr(config, SP_DSR_IGNORE);
    (void)sp_set_config_xon_xoff(config, SP_XONXOFF_DISABLED);
    return sp_set_config(port->port, config);
}

/* What the driver made of it: some round silently, a line without parity drops it silently. */
static bool took_it(const struct port *port, struct sp_port_config *config,
                    const struct serial_settings *settings)
{
    static const enum parity parities[] = {[SP_PARITY_NONE] = PARITY_NONE,
                                           [SP_PARITY_ODD] = PARITY_ODD,
                                           [SP_PARITY_EVEN] = PARITY_EVEN};
    int baud = 0, stop_bits = 0;
    enum sp_parity parity = SP_PARITY_INVALID;
    if (sp_get_config(port->port, config) != SP_OK)
        return false;
    (void)sp_get_config_baudrate(config, &baud);
    (void)sp_get_config_parity(config, &parity);
    (void)sp_get_config_stopbits(config, &stop_bits);
    return rates_agree(settings->baud, baud) && parity >= SP_PARITY_NONE &&
           parity <= SP_PARITY_EVEN && parities[parity] == settings->parity &&
           stop_bits == settings->stop_bits;
}

static int port_configure(struct serial *serial, const struct serial_settings *settings,
                          struct error *err)
{
    const struct port *port = (const struct port *)serial;
    struct sp_port_config *config;
    if (settings->baud > INT32_MAX)
        return refused_setting(serial, settings, "there is no such rate", err);
    if (sp_new_config(&config) != SP_OK)
        return error_memory(err);
    int rc = apply(port, config, settings), number = errno;
    bool taken = rc == SP_OK && took_it(port, config, settings);
    sp_free_config(config);
    if (rc == SP_ERR_FAIL && number != EINVAL)
        return descriptor_failed(serial, "configuring", number, err);
    if (rc != SP_OK)
        return refused_setting(serial, settings, "the driver refused", err);
    if (!taken)
        return refused_setting(serial, settings, "the driver set something else", err);
    return OK;
}

static ssize_t port_read(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                         struct error *err)
{
    return descriptor_read(serial, ((const struct port *)serial)->fd, bytes, max, deadline, err);
}

static int port_write(struct serial *serial, const uint8_t *bytes, size_t length, uint64_t deadline,
                      struct error *err)
{
    return descriptor_write(serial, ((const struct port *)serial)->fd, bytes, length, deadline,
                            err);
}

/* Both at once: sp_set_dtr() and sp_set_rts() each rewrite the two lines, one after the other, and
 * circuits that look at both would see a state nobody asked for. */
static int port_set_lines(struct serial *serial, bool dtr, bool rts, struct error *err)
{
    const struct port *port = (const struct port *)serial;
    int lines;
    if (ioctl(port->fd, TIOCMGET, &lines) == 0) {
        lines &= ~(TIOCM_DTR | TIOCM_RTS);
        lines |= (dtr ? TIOCM_DTR : 0) | (rts ? TIOCM_RTS : 0);
        if (ioctl(port->fd, TIOCMSET, &lines) == 0)
            return OK;
    }
    return descriptor_failed(serial, "setting DTR and RTS of", errno, err);
}

static void port_drop_input(struct serial *serial)
{
    (void)sp_flush(((const struct port *)serial)->port, SP_BUF_INPUT);
}

static void port_close(struct serial *serial)
{
    struct port *port = (struct port *)serial;
    if (port->fd >= 0) {
        latency_restore(&port->latency, port->fd);
        (void)sp_close(port->port);
    }
    if (port->lock >= 0)
        (void)close(port->lock);
    sp_free_port(port->port);
    free(port);
}

static const struct serial_ops port_ops = {
    .name = "libserialport",
    .configure = port_configure,
    .read = port_read,
    .write = port_write,
    .set_lines = port_set_lines,
    .drop_input = port_drop_input,
    .close = port_close,
};

/* Left over from another program. libserialport 0.1.1 means to switch it off when it is configured
 * so, but looks for the flag in the wrong word. */
static void forget_flow_control(int fd)
{
    struct termios line;
    if (tcgetattr(fd, &line) != 0 || !(line.c_cflag & CRTSCTS))
        return;
    line.c_cflag &= ~CRTSCTS;
    (void)tcsetattr(fd, TCSANOW, &line);
}

/* Looked up before anything is opened: there are nodes that do harm when they are (watchdogs). */
static int look_up(struct port *port, const char *name, const char *path, struct error *err)
{
    int rc = sp_get_port_by_name(path, &port->port);
    if (rc == SP_OK)
        return OK;
    if (rc == SP_ERR_MEM)
        return error_memory(err);
    error_set(err, ERR_NO_DEVICE, "opening %s: the kernel knows no serial port %s", name, path);
    error_hint(err, "in a container the node must have the kernel's own name (/dev/ttyUSB0), and "
                    "/sys must be there");
    return ERR_NO_DEVICE;
}

static int open_port(struct port *port, const char *name, const char *path, struct error *err)
{
    int rc = look_up(port, name, path, err);
    if (rc == OK)
        rc = serial_check_free(name, path, err);
    if (rc != OK)
        return rc;
    port->lock = serial_open_node(name, path, err);
    if (port->lock < 0)
        return port->lock;
    forget_flow_control(port->lock);
    if (sp_open(port->port, SP_MODE_READ_WRITE) != SP_OK)
        return serial_open_failed(name, path, errno, err);
    if (sp_get_port_handle(port->port, &port->fd) != SP_OK)
        return serial_open_failed(name, path, ENODEV, err);
    (void)fcntl(port->fd, F_SETFD, FD_CLOEXEC);
    (void)ioctl(port->fd, TIOCEXCL); /* against those who do not ask for the lock */
    latency_lower(&port->latency, host_here(), strrchr(path, '/') + 1, port->fd);
    return OK;
}

int serial_port_open(struct serial **serial, const char *name, const char *path, struct error *err)
{
    struct port *port = (struct port *)serial_allocate(sizeof *port, &port_ops, name);
    if (!port)
        return error_memory(err);
    port->lock = port->fd = -1;
    int rc = open_port(port, name, path, err);
    if (rc != OK) {
        port_close(&port->serial);
        return rc;
    }
    *serial = &port->serial;
    return OK;
}
