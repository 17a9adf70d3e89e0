# mflash. `make` builds build/mflash and build/vboard; `make help` lists the targets.
CC ?= cc
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
DESTDIR ?=
B ?= build

VERSION := 0.1.0
# `make V=1` shows whole commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' $(1) '$(2)')

WARN := -std=c17 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla \
        -Wstrict-prototypes -Wmissing-prototypes -Werror
LIBS := libserialport libusb-1.0 libelf zlib jansson libgpiod
# Asked once, not for each file.
LIBS_CFLAGS := $(shell pkg-config --cflags $(LIBS))
LIBS_LIBS := $(shell pkg-config --libs $(LIBS))
ALL_CFLAGS = $(WARN) $(CFLAGS) $(SANITIZE) -Isrc -Imethods -I$(B)/gen -DMFLASH_VERSION='"$(VERSION)"' \
             -DMFLASH_DATADIR='"$(PREFIX)/share/mflash"' $(LIBS_CFLAGS) -MMD -MP
ALL_LIBS = $(SANITIZE) $(LDFLAGS) $(LIBS_LIBS) -liniparser -lsocketcan -lpthread

rwildcard = $(foreach d,$(wildcard $(1:=/*)),$(call rwildcard,$d,$2) $(filter $(subst *,%,$2),$d))
objects = $(patsubst %.c,$(B)/%.o,$(1))

# The library is every room but the command line; methods are found, there is no list to edit.
METHOD_SRC := $(sort $(call rwildcard,methods,*.c))
CLI_SRC := src/main.c $(sort $(wildcard src/commands/*.c))
LIB_SRC := $(filter-out $(CLI_SRC),$(sort $(call rwildcard,src,*.c))) $(METHOD_SRC)
GEN_OBJ := $(B)/gen/methods.o $(B)/gen/chips.o

# Virtual boards: models, lines and buses are shared with the unit tests; servers are not.
VBOARD_LINK_SRC := $(filter-out tests/vboard/virtual_%.c,$(sort $(wildcard tests/vboard/*.c)))
VBOARD_MODEL_SRC := $(sort $(wildcard tests/vboard/models/*.c tests/vboard/arm/*.c tests/vboard/virtual_*.c)) \
                    tests/vboard/serve/can_ports.c $(VBOARD_LINK_SRC)
VBOARD_SERVE_SRC := $(sort $(wildcard tests/vboard/serve/*.c)) $(VBOARD_LINK_SRC)
VBOARD_AVR_SRC := $(sort $(wildcard tests/vboard/avr/*.c tests/vboard/models/*.c))
VBOARD_ARM_SRC := $(sort $(wildcard tests/vboard/arm/*.c)) tests/vboard/models/flash.c
VBOARD_SRC := $(sort $(wildcard tests/vboard/launcher/*.c))
UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
UNIT_HELP_SRC := $(filter-out $(UNIT_SRC),$(sort $(wildcard tests/unit/*.c)))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))

VBOARDS := $(B)/vboard $(B)/vboard-avr $(B)/vboard-arm

all: $(B)/mflash $(VBOARDS)

$(B)/mflash: $(call objects,$(CLI_SRC)) $(B)/libmflash.a
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $^ $(ALL_LIBS)

$(B)/libmflash.a: $(call objects,$(LIB_SRC)) $(GEN_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# The launcher links neither simavr (GPL-3) nor Unicorn (GPL-2), and no executable links both.
$(B)/vboard: $(call objects,$(VBOARD_SRC)) $(B)/libmflash.a
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $^ $(ALL_LIBS)

$(B)/vboard-avr: $(call objects,$(VBOARD_AVR_SRC) $(VBOARD_SERVE_SRC)) $(B)/gen/vmodels_avr.o $(B)/libmflash.a
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $^ $(ALL_LIBS) -lsimavr -lelf -lm

$(B)/vboard-arm: $(call objects,$(VBOARD_ARM_SRC) $(VBOARD_SERVE_SRC)) $(B)/gen/vmodels_arm.o $(B)/libmflash.a
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $^ $(ALL_LIBS) -lunicorn -lm

$(B)/%.o: %.c | $(B)/gen/methods.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests/vboard -c -o $@ $<

$(B)/gen/%.o: $(B)/gen/%.c
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests/vboard -c -o $@ $<

$(B)/gen/methods.c: $(METHOD_SRC) scripts/gen-table
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)scripts/gen-table method methods method.h $(METHOD_SRC) > $@

$(B)/gen/vmodels_avr.c: $(VBOARD_AVR_SRC) scripts/gen-table
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)scripts/gen-table vmodel vmodels model.h $(VBOARD_AVR_SRC) > $@

$(B)/gen/vmodels_arm.c: $(VBOARD_ARM_SRC) scripts/gen-table
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)scripts/gen-table vmodel vmodels model.h $(VBOARD_ARM_SRC) > $@

$(B)/gen/chips.c: $(sort $(wildcard src/board/chips-*.csv)) scripts/gen-chips
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)scripts/gen-chips $(filter %.csv,$^) > $@

# ---- tests ----
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SRC))

# Archives, so that each of the many programs links what it uses and no more.
$(B)/libmodels.a: $(call objects,$(VBOARD_MODEL_SRC))
$(B)/libunit.a: $(call objects,$(UNIT_HELP_SRC))
$(B)/libmodels.a $(B)/libunit.a:
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/unit/%: $(B)/tests/unit/%.o $(B)/libunit.a $(B)/libmodels.a $(B)/libmflash.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $^ $(ALL_LIBS) -lcmocka -lunicorn -lm

unit: $(UNIT_BIN)

# The quick ring: unit tests, plain and under ASan+UBSan.
check: all unit
	scripts/run-unit $(UNIT_BIN)
	$(MAKE) --no-print-directory B=$(B)/asan SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all' CFLAGS='-O1 -g' unit
	scripts/run-unit $(patsubst $(B)/%,$(B)/asan/%,$(UNIT_BIN))

FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(FUZZ_SRC))
FUZZ_SECONDS ?= 600
FUZZ_SEED ?= 0

$(B)/fuzz/%: $(B)/tests/fuzz/%.o $(B)/libmodels.a $(B)/libmflash.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -fsanitize=fuzzer -o $@ $^ $(ALL_LIBS) -lunicorn -lm

fuzz-build:
	$(MAKE) --no-print-directory B=$(B)/fuzzing CC=clang SANITIZE='-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize=null,object-size,pointer-overflow' CFLAGS='-O1 -g' fuzz-binaries
fuzz-binaries: $(FUZZ_BIN)

fuzz: fuzz-build
	tests/fuzz/run $(B)/fuzzing/fuzz $(FUZZ_SECONDS) $(FUZZ_SEED)

# Plugs what a virtual board serves into the kernel of the lab.
$(B)/lab/attach: tests/lab/attach.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(WARN) $(CFLAGS) -o $@ $<

$(B)/lab/usb_link: $(B)/tests/lab/usb_link.o $(B)/libmflash.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $^ $(ALL_LIBS)

lab: all $(B)/lab/attach $(B)/lab/usb_link
	tests/lab/run

bench: all
	tests/bench/run

# ---- using and installing ----
FLASH_BOARD ?=
FLASH_IMAGE ?= out/klipper.elf.hex
flash: $(B)/mflash
	$(B)/mflash $(if $(FLASH_BOARD),--board $(FLASH_BOARD)) $(if $(FLASH_DEVICE),--device $(FLASH_DEVICE)) $(FLASH_IMAGE)

# udev reads PREFIX/lib/udev/rules.d of /usr and /usr/local; eudev only that of /usr, and /etc/udev/rules.d.
UDEVDIR ?= $(PREFIX)/lib/udev/rules.d

$(B)/60-mflash.rules: boards.ini scripts/gen-udev
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)scripts/gen-udev boards.ini > $@

install: all $(B)/60-mflash.rules
	install -Dm755 $(B)/mflash $(DESTDIR)$(PREFIX)/bin/mflash
	for f in $(notdir $(VBOARDS)); do install -Dm755 $(B)/$$f $(DESTDIR)$(PREFIX)/bin/$$f || exit 1; done
	install -Dm644 boards.ini $(DESTDIR)$(PREFIX)/share/mflash/boards.ini
	install -Dm644 docs/mflash.1 $(DESTDIR)$(PREFIX)/share/man/man1/mflash.1
	install -Dm644 $(B)/60-mflash.rules $(DESTDIR)$(UDEVDIR)/60-mflash.rules
	[ -n "$(DESTDIR)" ] || ! command -v udevadm >/dev/null || \
	    { udevadm control --reload && udevadm trigger --subsystem-match=usb --subsystem-match=hidraw; } 2>/dev/null || true

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,mflash $(notdir $(VBOARDS)))
	rm -f $(DESTDIR)$(PREFIX)/share/mflash/boards.ini $(DESTDIR)$(PREFIX)/share/man/man1/mflash.1
	rm -f $(DESTDIR)$(UDEVDIR)/60-mflash.rules

clean:
	rm -rf $(B)

ALL_C := $(sort $(call rwildcard,src methods tests,*.c) $(call rwildcard,src methods tests,*.h))
format:
	clang-format -i $(ALL_C)

lint:
	scripts/lint $(ALL_C)

help:
	@echo 'all check unit lab bench fuzz install uninstall flash clean format lint'

.PHONY: all unit check lab fuzz fuzz-build fuzz-binaries bench flash install uninstall clean format lint help
.SECONDARY:

-include $(shell find $(B) -name '*.d' 2>/dev/null)
