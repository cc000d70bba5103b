# SPDX-License-Identifier: GPL-2.0
# A VMM for arm64 and its guest's initrd; with ARCH=arm64 only.

BOOT_LINUX_OUT := $(O)/boot-linux$(SUFFIX)
BOOT_LINUX := $(wildcard examples/boot-linux/*.[ch])
BOOT_LINUX_FLAGS := -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -O2 $(CROSS_FLAGS) -static

.PHONY: boot-linux
boot-linux: $(BOOT_LINUX_OUT)/boot-linux $(BOOT_LINUX_OUT)/guest.cpio ## the VMM that boots Linux on arm64

$(BOOT_LINUX_OUT)/boot-linux: $(BOOT_LINUX) $(STAGE)/lib/pkgconfig/libgmem.pc
	@mkdir -p $(@D)
	$(CC) $(BOOT_LINUX_FLAGS) -pthread -o $@ $(filter %.c,$^) \
		$$(PKG_CONFIG_PATH=$(STAGE)/lib/pkgconfig pkg-config --static --cflags --libs libgmem) -lfdt

# An initrd with only init, busybox and the directory for devices.
$(BOOT_LINUX_OUT)/guest.cpio: examples/boot-linux/guest-init $(SYSROOT)/bin/busybox
	@rm -rf $(@D)/guest && mkdir -p $(@D)/guest/bin $(@D)/guest/dev
	cp $< $(@D)/guest/init
	cp $(SYSROOT)/bin/busybox $(@D)/guest/bin/
	cd $(@D)/guest && find . | cpio -o -H newc -R 0:0 --quiet >$@
