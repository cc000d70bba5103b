# SPDX-License-Identifier: GPL-2.0
# The examples, built as a user of the installed library would, with pkg-config alone.

STAGE := $(O)/stage$(SUFFIX)
# The guest that has a device is for x86.
SOURCES_OF_EXAMPLES := $(filter-out $(if $(SUFFIX),examples/vfio.c),$(wildcard examples/*.c))
EXAMPLES := $(patsubst examples/%.c,$(O)/examples$(SUFFIX)/%,$(SOURCES_OF_EXAMPLES))

.PHONY: examples
examples: $(EXAMPLES) ## build the examples against the installed library

$(STAGE)/lib/pkgconfig/libgmem.pc: $(LIB_OBJECTS) lib/gmem.h lib/libgmem.pc.in $(O)/cli$(SUFFIX)/gmem
	@$(MAKE) -s install PREFIX=$(STAGE) DESTDIR= >/dev/null

$(O)/examples$(SUFFIX)/%: examples/%.c $(wildcard examples/*.h) $(STAGE)/lib/pkgconfig/libgmem.pc
	@mkdir -p $(@D)
	$(CC) -Wall -Wextra -O2 $(CROSS_FLAGS) -static -o $@ $< \
		$$(PKG_CONFIG_PATH=$(STAGE)/lib/pkgconfig pkg-config --static --cflags --libs libgmem)
