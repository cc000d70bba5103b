# SPDX-License-Identifier: GPL-2.0
# The pictures of docs/operating.md.

.PHONY: pictures
pictures: ## draw what gmem shows of running VMs, as docs/pictures/*.svg
	@vm/packages $(PACKAGES) python3-rich
	@vm/build release
	@$(MAKE) -s cli $(O)/docs/scene
	@docs/pictures/run

$(O)/docs/scene: docs/pictures/scene.c examples/vm.h examples/vm_x86.h $(O)/lib/libgmem.a
	@mkdir -p $(@D)
	$(CC) $(C) $(CFLAGS) -Ilib $(UAPI) -static -pthread -o $@ $< $(O)/lib/libgmem.a
