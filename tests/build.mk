# SPDX-License-Identifier: GPL-2.0
# The unit tests of the host, with sanitizers; and those of the library without, for
# valgrind.

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined
WRAP := -Wl,--wrap=ioctl,--wrap=fallocate,--wrap=mmap,--wrap=memfd_create,--wrap=ftruncate,--wrap=clock_gettime,--wrap=nanosleep
UNIT_FLAGS := -std=gnu11 -D_GNU_SOURCE -g -O1 -Wall -Wextra -MMD -MP -Ilib $(UAPI)
LIB_SOURCES := $(wildcard lib/*.c) $(wildcard lib/*.h)
LIBGMEM_UNIT := $(wildcard tests/libgmem/*.[ch]) tests/fake_kvm.c tests/fake_kvm.h $(LIB_SOURCES)

.PHONY: unit
unit: $(addprefix $(O)/tests/,gmem_bitmap_unit libgmem_unit states_unit text_unit conversion_unit libgmem_valgrind who hotplug top trace) ## build the unit tests of the host

$(O)/tests/gmem_bitmap_unit: tests/gmem_bitmap_unit.c tests/shim.h kernel/files/virt/kvm/gmem_bitmap.c
	@mkdir -p $(@D)
	$(CC) $(UNIT_FLAGS) $(SANITIZE) -Itests/shim -o $@ $< -lcmocka

$(O)/tests/libgmem_unit: $(LIBGMEM_UNIT)
	@mkdir -p $(@D)
	$(CC) $(UNIT_FLAGS) $(SANITIZE) -Itests $(WRAP) -o $@ $(filter %.c,$^) -lcmocka

$(O)/tests/libgmem_valgrind: $(LIBGMEM_UNIT)
	@mkdir -p $(@D)
	$(CC) $(UNIT_FLAGS) -Itests $(WRAP) -o $@ $(filter %.c,$^) -lcmocka

$(O)/tests/states_unit: tests/states_unit.c lib/states.c lib/internal.h
	@mkdir -p $(@D)
	$(CC) $(UNIT_FLAGS) $(SANITIZE) -o $@ $(filter %.c,$^) -lcmocka

$(O)/tests/conversion_unit: tests/conversion_unit.c cli/conversion.c cli/conversion.h cli/tracefs.h
	@mkdir -p $(@D)
	$(CC) $(UNIT_FLAGS) $(SANITIZE) -o $@ $< -lcmocka

$(O)/tests/text_unit: tests/text_unit.c cli/human.c cli/human.h cli/text.c cli/text.h
	@mkdir -p $(@D)
	$(CC) $(UNIT_FLAGS) $(SANITIZE) -o $@ $(filter %.c,$^) -lcmocka

# What runs in the machine, with the library.
$(addprefix $(O)/tests/,who hotplug): $(O)/tests/%: tests/%.c examples/edu.h examples/vm.h examples/vm_x86.h $(O)/lib/libgmem.a
	@mkdir -p $(@D)
	$(CC) $(UNIT_FLAGS) -static -pthread -o $@ $< $(O)/lib/libgmem.a

$(O)/tests/top: tests/top.c tests/vm_process.h examples/vm.h examples/vm_x86.h $(O)/lib/libgmem.a
	@mkdir -p $(@D)
	$(CC) $(UNIT_FLAGS) -static -pthread -o $@ $< $(O)/lib/libgmem.a

$(O)/tests/trace: tests/trace.c examples/vm.h examples/vm_x86.h $(O)/lib/libgmem.a
	@mkdir -p $(@D)
	$(CC) $(UNIT_FLAGS) -static -pthread -o $@ $< $(O)/lib/libgmem.a

# FUZZ_SECONDS=10 of random requests; what breaks is kept in $O/tests/fuzz.
$(O)/tests/fuzz_ranges: tests/fuzz_ranges.c $(wildcard tests/libgmem/picture.[ch]) \
		tests/fake_kvm.c tests/fake_kvm.h $(LIB_SOURCES)
	@mkdir -p $(@D)
	clang $(filter-out -MMD -MP,$(UNIT_FLAGS)) -Wno-missing-field-initializers \
		-fsanitize=fuzzer,address,undefined -Itests $(WRAP) -o $@ $(filter %.c,$^)

FUZZ_SECONDS ?= 10

.PHONY: fuzz
fuzz: $(O)/tests/fuzz_ranges ## give libgmem random requests, FUZZ_SECONDS=10
	@mkdir -p $(O)/tests/fuzz
	$(O)/tests/fuzz_ranges -max_total_time=$(FUZZ_SECONDS) -max_len=512 -print_final_stats=1 \
		-artifact_prefix=$(O)/tests/fuzz/ $(O)/tests/fuzz
