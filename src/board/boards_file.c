/*
 * Reads boards files through iniparser 4.1: keys and section names come lower-cased, lines end at
 * 1024 characters, one broken line fails the file.
 *
 * iniparser's look-ups are linear, so its dictionaries are walked, in the files' order, and the
 * sections are indexed here; again when more has been read, since later files override earlier
 * ones.
 */
#include "board/boards_file.h"

#include <iniparser/iniparser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

static int report_stray(const char *file, const char *key, struct error *err)
{
    const char *colon = strchr(key, ':');
    error_set(err, ERR_BOARDS_FILE, "%s: %s stands before any [section]", file,
              colon ? colon + 1 : key);
    return error_hint(err, "docs/adding-a-board.md shows the form");
}

static int index_dictionary(struct sections *sections, size_t sorted, const dictionary *ini,
                            const char *file, struct error *err)
{
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
            return report_stray(file, name, err);
        }
    }
    return OK;
}

static struct boards_file *open_file(struct sections *sections, const char *name)
{
    struct boards_file *grown =
        realloc(sections->files, (sections->file_count + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    sections->files = grown;
    grown[sections->file_count] = (struct boards_file){.name = strdup(name)};
    return grown[sections->file_count].name ? &grown[sections->file_count++] : NULL;
}

int sections_open(struct sections *sections, const char *name, bool as_needed, struct error *err)
{
    struct boards_file *file = open_file(sections, name);
    if (!file)
        return error_memory(err);
    file->as_needed = as_needed;
    return ini_open(&file->ini, name, err);
}

static void forget_list(struct sections *sections)
{
    for (size_t i = 0; i < sections->count; i++)
        free(sections->list[i].settings);
    free(sections->list);
    sections->list = NULL;
    sections->count = 0;
}

static int index_file(struct sections *sections, const struct boards_file *file, struct error *err)
{
    size_t sorted = sections->count;
    for (size_t i = 0; i < file->ini.count; i++) {
        const dictionary *piece = file->ini.pieces[i].dictionary;
        if (piece && index_dictionary(sections, sorted, piece, file->name, err))
            return error_status(err);
    }
    if (sections->count > 1)
        qsort(sections->list, sections->count, sizeof *sections->list, by_name);
    return OK;
}

int sections_need(struct sections *sections, const char *word, struct error *err)
{
    bool more = false;
    for (size_t i = 0; i < sections->file_count; i++) {
        struct boards_file *file = &sections->files[i];
        file->as_needed &= word != NULL;
        if (ini_need(&file->ini, file->name, file->as_needed ? word : NULL, &more, err))
            return error_status(err);
    }
    if (!more)
        return OK;
    forget_list(sections);
    for (size_t i = 0; i < sections->file_count; i++)
        if (index_file(sections, &sections->files[i], err))
            return error_status(err);
    return OK;
}

void sections_free(struct sections *sections)
{
    forget_list(sections);
    for (size_t i = 0; i < sections->file_count; i++) {
        ini_free(&sections->files[i].ini);
        free(sections->files[i].name);
    }
    free(sections->files);
}
