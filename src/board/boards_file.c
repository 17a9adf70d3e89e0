/*
 * Reads boards files through iniparser 4.1: keys and section names come lower-cased, lines end at
 * 1024 characters, one broken line fails the file.
 *
 * iniparser's look-ups are linear, so its dictionary is walked once, in the file's order, and the
 * sections are indexed here.
 */
#include "board/boards_file.h"

#include <ctype.h>
#include <errno.h>
#include <iniparser/iniparser.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* iniparser hands its complaints to a callback without a user pointer. */
static _Thread_local char complaint[512];

static int keep_complaint(const char *format, ...)
{
    if (complaint[0])
        return 0; /* the first one is the cause */
    va_list args;
    va_start(args, format);
    int n = vsnprintf(complaint, sizeof complaint, format, args);
    va_end(args);
    return n;
}

/* "iniparser: syntax error in FILE (LINE):\n-> TEXT" → "FILE:LINE: syntax error: TEXT" */
static int report_complaint(const char *file, struct error *err)
{
    const char *paren = strrchr(complaint, '(');
    const char *newline = strchr(complaint, '\n');
    if (newline)
        for (paren = newline; paren > complaint && *paren != '('; paren--)
            continue;
    unsigned line = paren ? (unsigned)strtoul(paren + 1, NULL, 10) : 0;
    const char *text = newline ? strstr(newline, "-> ") : NULL;
    char broken[128] = "";
    if (text)
        (void)snprintf(broken, sizeof broken, ": %.*s", (int)strcspn(text + 3, "\r\n"), text + 3);
    error_set(err, ERR_BOARDS_FILE, "%s:%u: %s%s", file, line,
              strstr(complaint, "too long") ? "line longer than 1024 characters"
                                            : "neither [section], key = value nor ; comment",
              broken);
    return error_hint(err, "mend that line; docs/adding-a-board.md shows the form");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct section *)a)->name, ((const struct section *)b)->name);
}

static int name_against(const void *name, const void *section)
{
    return strcmp(name, ((const struct section *)section)->name);
}

const struct section *section_find(const struct sections *sections, const char *name)
{
    if (!sections->count)
        return NULL;
    return bsearch(name, sections->list, sections->count, sizeof *sections->list, name_against);
}

const char *section_get(const struct section *section, const char *key)
{
    /* The last one wins: a later file's settings are appended. */
    for (size_t i = section ? section->count : 0; i-- > 0;)
        if (strcmp(section->settings[i].key, key) == 0)
            return section->settings[i].value;
    return NULL;
}

static bool is_head(const char *line, const char *name)
{
    size_t length = strlen(name);
    return line[0] == '[' && strncasecmp(line + 1, name, length) == 0 && line[length + 1] == ']';
}

static bool is_key(const char *line, const char *key)
{
    size_t length = strlen(key);
    if (strncasecmp(line, key, length) != 0)
        return false;
    line += length;
    return line[strspn(line, " \t")] == '=';
}

unsigned section_line(const struct section *section, const char *key)
{
    FILE *f = fopen(section->file, "re");
    if (!f)
        return 0;
    char line[1100];
    bool inside = false;
    unsigned found = 0;
    for (unsigned n = 1; !found && fgets(line, sizeof line, f); n++) {
        const char *text = line + strspn(line, " \t");
        if (text[0] == '[')
            inside = is_head(text, section->name);
        if (inside && (key ? is_key(text, key) : text[0] == '['))
            found = n;
    }
    (void)fclose(f);
    return found;
}

static int add_setting(struct section *section, const char *key, const char *value)
{
    struct setting *grown =
        realloc(section->settings, (section->count + 1) * sizeof *section->settings);
    if (!grown)
        return ERR_MEMORY;
    section->settings = grown;
    section->settings[section->count++] = (struct setting){key, value};
    return OK;
}

/* A fresh section at the end, or the one an earlier file has. The list is sorted up to `sorted`. */
static struct section *open_section(struct sections *sections, size_t sorted, const char *name,
                                    const char *file)
{
    struct section *old =
        sorted ? bsearch(name, sections->list, sorted, sizeof *sections->list, name_against) : NULL;
    if (old) {
        old->shadows = old->shadows ? old->shadows : old->file;
        old->file = file;
        return old;
    }
    struct section *grown = realloc(sections->list, (sections->count + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    sections->list = grown;
    grown[sections->count] = (struct section){.name = name, .file = file, .order = sections->count};
    return &grown[sections->count++];
}

static int report_scattered(const char *file, const char *key, struct error *err)
{
    int length = (int)strcspn(key, ":");
    error_set(err, ERR_BOARDS_FILE, "%s: section [%.*s] is given twice", file, length, key);
    return error_hint(err, "put all its keys below one heading");
}

static int index_dictionary(struct sections *sections, const dictionary *ini, const char *file,
                            struct error *err)
{
    size_t sorted = sections->count;
    struct section *section = NULL;
    for (int i = 0; i < ini->n; i++) {
        const char *name = ini->key[i];
        size_t head = section ? strlen(section->name) : 0;
        if (!ini->val[i]) {
            section = open_section(sections, sorted, name, file);
            if (!section)
                return error_memory(err);
        } else if (section && strncmp(name, section->name, head) == 0 && name[head] == ':') {
            if (add_setting(section, name + head + 1, ini->val[i]))
                return error_memory(err);
        } else {
            return report_scattered(file, name, err);
        }
    }
    qsort(sections->list, sections->count, sizeof *sections->list, by_name);
    return OK;
}

static int keep_file(struct sections *sections, const char *file, void *ini, char **name)
{
    size_t n = sections->file_count + 1;
    void **dictionaries = realloc(sections->dictionaries, n * sizeof *dictionaries);
    if (dictionaries)
        sections->dictionaries = dictionaries;
    char **files = realloc(sections->files, n * sizeof *files);
    if (files)
        sections->files = files;
    *name = dictionaries && files ? strdup(file) : NULL;
    if (!*name)
        return ERR_MEMORY;
    dictionaries[n - 1] = ini;
    files[n - 1] = *name;
    sections->file_count = n;
    return OK;
}

int sections_read(struct sections *sections, const char *file, struct error *err)
{
    FILE *readable = fopen(file, "re");
    if (!readable)
        return error_set(err, ERR_BOARDS_FILE, "boards file %s: %s", file, strerror(errno));
    (void)fclose(readable);
    complaint[0] = '\0';
    iniparser_set_error_callback(keep_complaint);
    dictionary *ini = iniparser_load(file);
    iniparser_set_error_callback(NULL);
    if (!ini)
        return complaint[0] ? report_complaint(file, err) : error_memory(err);
    char *name = NULL;
    if (keep_file(sections, file, ini, &name)) {
        iniparser_freedict(ini);
        return error_memory(err);
    }
    return index_dictionary(sections, ini, name, err);
}

void sections_free(struct sections *sections)
{
    for (size_t i = 0; i < sections->count; i++)
        free(sections->list[i].settings);
    for (size_t i = 0; i < sections->file_count; i++) {
        iniparser_freedict(sections->dictionaries[i]);
        free(sections->files[i]);
    }
    free(sections->list);
    free(sections->dictionaries);
    free(sections->files);
}
