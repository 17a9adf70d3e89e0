/* The version, in the library, so that every user of it says the same. */
#include "mflash.h"

const char *mflash_version(void)
{
    return MFLASH_VERSION;
}
