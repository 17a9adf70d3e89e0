/* A machine made of a few files: see machine_tree.h. */
#include "machine_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int tree_make(void **state)
{
    struct machine_tree *tree = calloc(1, sizeof *tree);
    assert_non_null(tree);
    (void)snprintf(tree->root, sizeof tree->root, "/tmp/mflash-machine-XXXXXX");
    assert_non_null(mkdtemp(tree->root));
    (void)snprintf(tree->sys, sizeof tree->sys, "%s/sys", tree->root);
    (void)snprintf(tree->proc, sizeof tree->proc, "%s/proc", tree->root);
    (void)snprintf(tree->dev, sizeof tree->dev, "%s/dev", tree->root);
    (void)snprintf(tree->etc, sizeof tree->etc, "%s/etc", tree->root);
    (void)snprintf(tree->run, sizeof tree->run, "%s/run", tree->root);
    tree->host = (struct host){tree->sys, tree->proc, tree->dev, tree->etc, tree->run};
    tree_put(tree, "sys/class/tty/tty0/dev", "4:0\n");
    tree_put(tree, "proc/1/comm", "systemd\n");
    *state = tree;
    return 0;
}

static int remove_one(const char *path, const struct stat *is, int kind, struct FTW *at)
{
    (void)is, (void)kind, (void)at;
    return remove(path);
}

int tree_remove(void **state)
{
    struct machine_tree *tree = *state;
    int rc = nftw(tree->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(tree);
    return rc;
}

/* The full path; all directories of it are made. */
static void place(const struct machine_tree *tree, const char *name, char path[HOST_PATH_MAX])
{
    char part[HOST_PATH_MAX];
    host_path(path, "%s/%s", tree->root, name);
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        (void)snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        (void)mkdir(part, 0755);
    }
}

void tree_put_bytes(const struct machine_tree *tree, const char *name, const void *bytes,
                    size_t length)
{
    char path[HOST_PATH_MAX];
    place(tree, name, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

void tree_put(const struct machine_tree *tree, const char *name, const char *content)
{
    tree_put_bytes(tree, name, content, strlen(content));
}

void tree_get(const struct machine_tree *tree, const char *name, char *text, size_t size)
{
    char path[HOST_PATH_MAX];
    host_path(path, "%s/%s", tree->root, name);
    assert_true(host_line(path, text, size));
}

void tree_link(const struct machine_tree *tree, const char *name, const char *target)
{
    char path[HOST_PATH_MAX], to[HOST_PATH_MAX];
    bool inside = target[0] == '%';
    place(tree, name, path);
    host_path(to, "%s%s", inside ? tree->root : "", target + inside);
    assert_int_equal(symlink(to, path), 0);
}

void tree_plug_in_mega(const struct machine_tree *tree)
{
    tree_put(tree, MEGA_USB "/idVendor", "2341\n");
    tree_put(tree, MEGA_USB "/idProduct", "0042\n");
    tree_put(tree, MEGA_USB "/serial", "75833353035351F0A1B2\n");
    tree_put(tree, MEGA_USB "/manufacturer", "Arduino (www.arduino.cc)\n");
    tree_put(tree, MEGA_USB "/product", "Arduino Mega 2560\n");
    tree_put(tree, MEGA_USB "/power/control", "on\n");
    tree_put(tree, MEGA_USB "/1-1.4:1.0/tty/ttyACM0/dev", "166:0\n");
    tree_link(tree, MEGA_USB "/1-1.4:1.0/driver", "../../../../../../../bus/usb/drivers/cdc_acm");
    tree_link(tree, MEGA_USB "/1-1.4:1.0/tty/ttyACM0/device", "../../../1-1.4:1.0");
    tree_link(tree, "sys/bus/usb/devices/1-1.4", "%/" MEGA_USB);
    tree_link(tree, "sys/bus/usb/devices/1-1.4:1.0", "%/" MEGA_USB "/1-1.4:1.0");
    tree_link(tree, "sys/class/tty/ttyACM0", "%/" MEGA_USB "/1-1.4:1.0/tty/ttyACM0");
    tree_link(tree, "dev/serial/by-id/usb-Arduino_Mega_2560_7583-if00", "../../ttyACM0");
}

void tree_plug_in_ftdi(const struct machine_tree *tree, const char *tty, const char *timer)
{
    char name[HOST_PATH_MAX], target[HOST_PATH_MAX];
    tree_put(tree, FTDI_USB "/idVendor", "0403\n");
    tree_put(tree, FTDI_USB "/idProduct", "6001\n");
    host_path(name, FTDI_USB "/1-2:1.0/%s/tty/%s/dev", tty, tty);
    tree_put(tree, name, "188:0\n");
    host_path(name, FTDI_USB "/1-2:1.0/%s/latency_timer", tty);
    tree_put(tree, name, timer);
    host_path(name, FTDI_USB "/1-2:1.0/%s/driver", tty);
    tree_link(tree, name, "../../../bus/usb-serial/drivers/ftdi_sio");
    host_path(name, FTDI_USB "/1-2:1.0/%s/tty/%s/device", tty, tty);
    host_path(target, "../../../%s", tty);
    tree_link(tree, name, target);
    host_path(name, "sys/class/tty/%s", tty);
    host_path(target, "%%/" FTDI_USB "/1-2:1.0/%s/tty/%s", tty, tty);
    tree_link(tree, name, target);
}
