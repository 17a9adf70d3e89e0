/*
 * vboard-avr, vboard-arm: the boards that one simulator can be. `vboard-avr list` prints its
 * models, one a line: name, method, link (serial; cdc: a serial port with USB of its own; usb;
 * can), baud, fresh or -, chips by commas, what proves it; fields by tabs. Otherwise it serves one
 * board until SIGTERM. People type `vboard`, which chooses the model.
 */
#include <stdio.h>
#include <string.h>

#include "server.h"

static const char *link_of(const struct vmodel *model)
{
    if (!model->create)
        return model->create_can ? "can" : "usb";
    return model->baud || model->fresh ? "serial" : "cdc";
}

static void list_models(void)
{
    for (const struct vmodel *const *entry = vmodels; *entry; entry++) {
        const struct vmodel *model = *entry;
        printf("%s\t%s\t%s\t%u\t%s\t", model->name, model->method, link_of(model),
               (unsigned)model->baud, model->fresh ? "fresh" : "-");
        for (const char *const *chip = model->chips; *chip; chip++)
            printf("%s%s", chip == model->chips ? "" : ",", *chip);
        printf("\t%s\n", model->proof);
    }
}

int main(int argc, char **argv)
{
    struct options options;

    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        list_models();
        return 0;
    }
    int status = options_parse(&options, argc, argv);
    return status ? status : serve(&options);
}
