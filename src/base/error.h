/*
 * Errors: one enum, one struct that gains context on its way up.
 *
 * Every function that can fail returns 0 or a negative enum error_code and, where it takes a
 * `struct error *`, fills it. What reaches the user is
 *
 *     mflash: <what was being done, to what, what the device answered>
 *             <what to try next>
 */
#ifndef MFLASH_ERROR_H
#define MFLASH_ERROR_H

enum error_code {
    OK = 0,
    ERR_FAILED = -1,       /* anything without a better name; exit 1 */
    ERR_MEMORY = -2,       /* out of memory; exit 1 */
    ERR_USAGE = -3,        /* the command line is wrong; exit 2 */
    ERR_BOARDS_FILE = -4,  /* a boards file is broken; exit 2 */
    ERR_NOT_POSSIBLE = -5, /* the protocol has no such operation; exit 2 */
    ERR_IMAGE = -6,        /* the image cannot be read (syntax, missing file); exit 3 */
    ERR_NO_DEVICE = -7,    /* nothing there; exit 4 */
    ERR_AMBIGUOUS = -8,    /* several there, the user must say which; exit 4 */
    ERR_BUSY = -9,         /* another process holds it; exit 5 */
    ERR_PERMISSION = -10,  /* exit 5 */
    ERR_REFUSED = -11,     /* a safety check said no; error.check names it; exit 6 */
    ERR_NO_ANSWER = -12,   /* the deadline passed in silence; exit 7 */
    ERR_PROTOCOL = -13,    /* the device answered, but wrongly; exit 7 */
    ERR_GONE = -14,        /* the link went away (unplugged, hung up); exit 7 */
    ERR_VERIFY = -15,      /* flash differs from the image; exit 8 */
    ERR_PROTECTED = -16,   /* read or write protection is set; exit 9 */
    ERR_INTERRUPTED = -17, /* the user asked to stop; exit 130 */
    ERR_STALL = -18,       /* the device refused a USB request; exit 7 */
};

enum { ERROR_MESSAGE_MAX = 1024, ERROR_HINT_MAX = 768 };

struct error {
    enum error_code code;
    const char *check; /* ERR_REFUSED: the name `--force` takes; else NULL. A string literal. */
    char message[ERROR_MESSAGE_MAX];
    char hint[ERROR_HINT_MAX]; /* what to try next; may be empty */
};

/* Starts afresh: sets code and message, clears hint and check. Returns `code`. err may be NULL. */
int error_set(struct error *err, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "text: " before the message: what was being done when it failed. Returns err->code. */
int error_context(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Sets what to try next. Returns err->code. */
int error_hint(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Shorthands for the two commonest: out of memory, and a refusal by a named safety check. */
int error_memory(struct error *err);
int error_refuse(struct error *err, const char *check, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void error_clear(struct error *err);

/* What a function that has failed returns: never 0, even if a callee failed without saying why. */
static inline int error_status(const struct error *err)
{
    return err->code ? err->code : ERR_FAILED;
}

static inline int error_never_ok(int code)
{
    return code ? code : ERR_FAILED;
}

/* So that whoever reads the code, a static analyzer too, sees that these never return 0. */
#define error_set(...)     error_never_ok(error_set(__VA_ARGS__))
#define error_context(...) error_never_ok(error_context(__VA_ARGS__))
#define error_hint(...)    error_never_ok(error_hint(__VA_ARGS__))
#define error_refuse(...)  error_never_ok(error_refuse(__VA_ARGS__))
#define error_memory(err)  error_never_ok(error_memory(err))

/* The stable name of a code in `--json` ("verify-mismatch"), and the exit status it leads to. */
const char *error_code_name(enum error_code code);
int error_exit_status(enum error_code code);

#endif
