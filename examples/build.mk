# SPDX-License-Identifier: GPL-2.0
# The examples, as a user of the installed library builds them: nothing but pkg-config.

STAGE := $(O)/stage$(SUFFIX)
EXAMPLES := $(patsubst examples/%.c,$(O)/examples$(SUFFIX)/%,$(wildcard examples/*.c))

.PHONY: examples
examples: $(EXAMPLES) ## build the examples against the installed library

$(STAGE)/lib/pkgconfig/libgmem.pc: $(LIB_OBJECTS) lib/gmem.h lib/libgmem.pc.in $(O)/cli$(SUFFIX)/gmem
	@$(MAKE) -s install PREFIX=$(STAGE) DESTDIR= >/dev/null

$(O)/examples$(SUFFIX)/%: examples/%.c $(wildcard examples/*.h) $(STAGE)/lib/pkgconfig/libgmem.pc
	@mkdir -p $(@D)
	$(CC) -Wall -Wextra -O2 $(CROSS_FLAGS) -static -o $@ $< \
		$$(PKG_CONFIG_PATH=$(STAGE)/lib/pkgconfig pkg-config --static --cflags --libs libgmem)
