/* See printer_cfg.h. What Klipper's parser takes: `key: value` or `key = value`, # and ; comments,
 * a line that begins with a blank goes on with the value before. */
#include "klipper/printer_cfg.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DEPTH_MAX = 8, FILES_MAX = 512, LINE_SIZE = 1024 };

struct reading {
    struct printer_nodes *nodes;
    unsigned depth, files;
    struct printer_node current; /* the section's */
    bool has_uuid;
};

/* Cuts comments and blanks off both ends. */
static char *trim(char *text)
{
    text[strcspn(text, "#;\r\n")] = '\0';
    size_t length = strlen(text);
    while (length && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    return text + strspn(text, " \t");
}

static int end_section(struct reading *r, struct error *err)
{
    if (r->has_uuid && r->nodes->count == PRINTER_NODES_MAX)
        return error_set(err, ERR_FAILED, "more than %d CAN nodes", PRINTER_NODES_MAX);
    if (r->has_uuid)
        r->nodes->list[r->nodes->count++] = r->current;
    r->has_uuid = false;
    return OK;
}

static void begin_section(struct reading *r, const char *name)
{
    r->current = (struct printer_node){.interface = "can0"};
    (void)snprintf(r->current.section, sizeof r->current.section, "%s", name);
}

static int take_key(struct reading *r, char *line, struct error *err)
{
    char *value = line + strcspn(line, ":=");
    if (!*value)
        return OK;
    *value++ = '\0';
    const char *key = trim(line);
    value = trim(value);
    if (strcasecmp(key, "canbus_interface") == 0)
        (void)snprintf(r->current.interface, sizeof r->current.interface, "%s", value);
    if (strcasecmp(key, "canbus_uuid") != 0)
        return OK;
    r->has_uuid = can_uuid_parse(value, r->current.uuid);
    return r->has_uuid ? OK : error_set(err, ERR_FAILED, "“%s” is no canbus_uuid", value);
}

static int read_file(struct reading *r, const char *path, struct error *err);

static int read_all(struct reading *r, const glob_t *found, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; i < found->gl_pathc && rc == OK; i++)
        rc = read_file(r, found->gl_pathv[i], err);
    return rc;
}

/* Against the folder of the file that includes; a name without * must be there. */
static int include(struct reading *r, const char *from, const char *name, struct error *err)
{
    char pattern[PATH_MAX];
    const char *slash = strrchr(from, '/');
    int folder = slash && name[0] != '/' ? (int)(slash - from + 1) : 0;
    if (snprintf(pattern, sizeof pattern, "%.*s%s", folder, from, name) >= (int)sizeof pattern)
        return error_set(err, ERR_FAILED, "the name of an included file is too long");
    if (r->depth >= DEPTH_MAX)
        return error_set(err, ERR_FAILED, "files include each other");
    glob_t found;
    int rc = glob(pattern, 0, NULL, &found);
    if (rc == GLOB_NOMATCH)
        return strpbrk(name, "*?[") ? OK : error_set(err, ERR_FAILED, "%s is not there", pattern);
    if (rc != 0)
        return error_set(err, ERR_FAILED, "%s cannot be listed", pattern);
    r->depth++;
    rc = read_all(r, &found, err);
    r->depth--;
    globfree(&found);
    return rc;
}

static int take_line(struct reading *r, const char *path, char *line, struct error *err)
{
    bool continues = isspace((unsigned char)line[0]);
    char *text = trim(line);
    if (!*text || continues)
        return OK;
    if (text[0] != '[')
        return take_key(r, text, err);
    text[strcspn(text, "]")] = '\0';
    const char *name = trim(text + 1);
    if (end_section(r, err))
        return error_status(err);
    begin_section(r, name);
    return strncmp(name, "include ", 8) == 0 ? include(r, path, name + 8, err) : OK;
}

/* A section does not go on behind the end of its file. */
static int read_lines(struct reading *r, const char *path, FILE *file, struct error *err)
{
    char line[LINE_SIZE];
    int rc = OK;
    begin_section(r, "");
    for (unsigned n = 1; rc == OK && fgets(line, sizeof line, file); n++) {
        rc = take_line(r, path, line, err);
        if (rc != OK)
            return error_context(err, "%s, line %u", path, n);
    }
    return rc == OK ? end_section(r, err) : rc;
}

static int read_file(struct reading *r, const char *path, struct error *err)
{
    if (++r->files > FILES_MAX)
        return error_set(err, ERR_FAILED, "more than %d files", FILES_MAX);
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(err, ERR_FAILED, "%s: %s", path, strerror(errno));
    int rc = read_lines(r, path, file, err);
    (void)fclose(file);
    return rc;
}

int printer_cfg_nodes(struct printer_nodes *nodes, const char *path, struct error *err)
{
    struct reading r = {.nodes = nodes};
    nodes->count = 0;
    return read_file(&r, path, err);
}
