# SPDX-License-Identifier: GPL-2.0
# libgmem, static and shared, and its installation.  This does not need a built
# kernel, only the system's <linux/kvm.h> and our header.

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
OBJCOPY ?= objcopy

LIB_VERSION := $(shell sed -n 's/^.define GMEM_VERSION "\(.*\)"/\1/p' lib/gmem.h)
SONAME := libgmem.so.0
UAPI := -isystem kernel/files/include/uapi
LIB_OBJECTS := $(patsubst lib/%.c,$(O)/lib$(SUFFIX)/%.o,$(wildcard lib/*.c))
LIBS := $(O)/lib$(SUFFIX)/libgmem.a $(O)/lib$(SUFFIX)/libgmem.so $(O)/lib$(SUFFIX)/libgmem.pc

.PHONY: lib
lib: $(LIBS) ## build libgmem, static and shared

$(O)/lib$(SUFFIX)/%.o: lib/%.c
	@mkdir -p $(@D)
	$(CC) $(C) $(CPPFLAGS) $(CFLAGS) -fPIC -fvisibility=hidden -Ilib $(UAPI) -c -o $@ $<

# One object, in which the symbols that the files share are local, as they have
# no prefix.
$(O)/lib$(SUFFIX)/libgmem.a: $(LIB_OBJECTS) lib/build.mk
	rm -f $@
	$(LD) -r -o $(@:.a=.o) $(LIB_OBJECTS)
	$(OBJCOPY) --localize-hidden $(@:.a=.o)
	$(AR) rcs $@ $(@:.a=.o)

$(O)/lib$(SUFFIX)/$(SONAME): $(LIB_OBJECTS) lib/libgmem.map
	$(CC) $(LDFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=lib/libgmem.map \
		-Wl,-z,defs -o $@ $(LIB_OBJECTS) -lpthread

$(O)/lib$(SUFFIX)/libgmem.so: $(O)/lib$(SUFFIX)/$(SONAME)
	ln -sf $(SONAME) $@

$(O)/lib$(SUFFIX)/libgmem.pc: lib/libgmem.pc.in lib/gmem.h
	@mkdir -p $(@D)
	sed 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(LIB_VERSION)|' $< >$@

# What our programs are compiled with; a package's build has its own list.
.PHONY: compilers
compilers:
	@vm/packages gcc make libc6-dev pkg-config libpng-dev zlib1g-dev

.PHONY: install
install: $(if $(DESTDIR),,compilers) lib cli ## install libgmem, gmem and the manual under PREFIX=/usr/local (and DESTDIR=)
	rm -f $(O)/lib$(SUFFIX)/libgmem.pc
	@$(MAKE) -s $(O)/lib$(SUFFIX)/libgmem.pc
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/bin
	install -m 644 lib/gmem.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(O)/lib$(SUFFIX)/libgmem.a $(DESTDIR)$(LIBDIR)/
	install -m 755 $(O)/lib$(SUFFIX)/$(SONAME) $(DESTDIR)$(LIBDIR)/libgmem.so.$(LIB_VERSION)
	ln -sf libgmem.so.$(LIB_VERSION) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libgmem.so
	install -m 644 $(O)/lib$(SUFFIX)/libgmem.pc $(DESTDIR)$(LIBDIR)/pkgconfig/
	install -m 755 $(O)/cli$(SUFFIX)/gmem $(DESTDIR)$(PREFIX)/bin/
	set -e; for page in $(wildcard man/*.[1-9]); do \
		section=$${page##*.}; \
		install -d $(DESTDIR)$(PREFIX)/share/man/man$$section; \
		cp -d $$page $(DESTDIR)$(PREFIX)/share/man/man$$section/; \
	done
# Otherwise the loader does not find the library yet; packages take care of that
# themselves.
	[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || /sbin/ldconfig

-include $(LIB_OBJECTS:.o=.d)
