/*
 * The hosts of a CAN bus, as SocketCAN shows a bus to them: see can_bus.h. Error frames are those
 * of include/uapi/linux/can/error.h, error counters those of ISO 11898-1, 12.1.4 (fault
 * confinement).
 */
#include <linux/can/error.h>

#include "can_queue.h"
#include "can_station.h"

enum { NS = 1000, TX_ERROR_STEP = 8, TX_ERRORS_WARNING = 96 };

static bool wants(const struct can_station *host, const struct can_frame *frame)
{
    if (host->everything || (frame->can_id & CAN_ERR_FLAG))
        return true;
    for (size_t i = 0; i < host->id_count; i++)
        if (frame->can_id == host->ids[i])
            return true;
    return false;
}

void host_hear(struct can_station *host, const struct can_frame *frame)
{
    if (host->gone || !wants(host, frame))
        return;
    if (host->arrived.count >= CAN_HOST_ARRIVED ||
        !can_queue_push(&host->arrived, frame, host->bus->v.now * NS))
        host->lost++;
}

/* An error frame as SocketCAN makes them: include/uapi/linux/can/error.h. */
static void tell_host(struct can_station *host, canid_t class, uint8_t controller)
{
    struct can_frame frame = {.can_id = CAN_ERR_FLAG | CAN_ERR_CNT | class, .len = CAN_ERR_DLC};
    frame.data[1] = controller;
    frame.data[6] = (uint8_t)host->tx_errors;
    host_hear(host, &frame);
}

void station_count_error(struct can_station *sender, canid_t class)
{
    unsigned before = sender->tx_errors;
    if (before < TX_ERRORS_PASSIVE)
        sender->tx_errors += TX_ERROR_STEP;
    if (sender->node)
        return;
    if (class && before == 0)
        tell_host(sender, class, 0);
    if (before < TX_ERRORS_WARNING && sender->tx_errors >= TX_ERRORS_WARNING)
        tell_host(sender, CAN_ERR_CRTL, CAN_ERR_CRTL_TX_WARNING);
    if (before < TX_ERRORS_PASSIVE && sender->tx_errors >= TX_ERRORS_PASSIVE)
        tell_host(sender, CAN_ERR_CRTL, CAN_ERR_CRTL_TX_PASSIVE);
}

void hosts_go_bus_off(struct can_bus *bus)
{
    for (struct can_station *host = bus->stations; host; host = host->next) {
        if (host->node || host->gone)
            continue;
        station_silence(host);
        host->restart_at = bus->v.now + CAN_RESTART_TIME;
        tell_host(host, CAN_ERR_BUSOFF, 0);
    }
}

void host_restart(struct can_station *host)
{
    host->restart_at = 0;
    host->tx_errors = 0;
    tell_host(host, CAN_ERR_RESTARTED, 0);
}

void hosts_unplug(struct can_bus *bus)
{
    for (struct can_station *host = bus->stations; host; host = host->next) {
        if (host->node)
            continue;
        station_silence(host);
        host->gone = true;
    }
    bus->plug_at = bus->v.now + CAN_REPLUG_TIME;
}

struct can_station *can_bus_plug(struct can_bus *bus)
{
    return station_join(bus, NULL);
}

void can_bus_unplug(struct can_station *host)
{
    station_leave(host);
}

void can_bus_listen(struct can_station *host, const uint16_t *ids, size_t count)
{
    host->everything = !ids;
    host->id_count = ids ? count : 0;
    for (size_t i = 0; i < host->id_count; i++)
        host->ids[i] = ids[i];
}

bool can_bus_put(struct can_station *host, const struct can_frame *frame)
{
    return !host->gone && host->restart_at == 0 && host->out.count < CAN_HOST_QUEUE &&
           can_queue_push(&host->out, frame, host->bus->v.now * NS);
}

bool can_bus_take(struct can_station *host, struct can_frame *frame)
{
    if (!host->arrived.count)
        return false;
    *frame = can_queue_pop(&host->arrived);
    return true;
}
