# SPDX-License-Identifier: GPL-2.0
# The unit tests of the host, with sanitizers; and those of the library without, for
# valgrind.

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined
WRAP := -Wl,--wrap=ioctl,--wrap=fallocate,--wrap=mmap,--wrap=madvise,--wrap=memfd_create,--wrap=ftruncate,--wrap=clock_gettime,--wrap=pthread_cond_timedwait
UNIT_FLAGS := -std=gnu11 -D_GNU_SOURCE -g -O1 -Wall -Wextra -MMD -MP -Ilib $(UAPI)
LIB_SOURCES := $(wildcard lib/*.c) $(wildcard lib/*.h)
LIBGMEM_UNIT := $(wildcard tests/libgmem/*.[ch]) tests/fake_kvm.c tests/fake_kvm.h $(LIB_SOURCES)

UNITS := gmem_bitmap_unit gmem_show_unit states_unit text_unit conversion_unit tracefs_unit devices_unit
IN_MACHINE := who hotplug top trace answers answers_readers answers_devices answers_slots
SOURCES = $(filter %.c,$^)

.PHONY: unit
unit: $(addprefix $(O)/tests/,$(UNITS) libgmem_unit libgmem_valgrind $(IN_MACHINE)) ## build the unit tests of the host

$(O)/tests/gmem_bitmap_unit: kernel/files/virt/kvm/gmem_bitmap.c
$(O)/tests/gmem_show_unit: tests/show_shim.h $(addprefix kernel/files/virt/kvm/gmem_,show.c bitmap.c state.h)
$(addprefix $(O)/tests/gmem_,bitmap_unit show_unit): tests/shim.h
$(addprefix $(O)/tests/gmem_,bitmap_unit show_unit): UNIT_FLAGS += -Itests/shim
$(O)/tests/gmem_show_unit: UNIT_FLAGS += -Wno-sign-compare -Wno-unused-parameter
$(O)/tests/text_unit: cli/human.c cli/human.h cli/text.c cli/text.h
$(O)/tests/states_unit: lib/states.c lib/internal.h
$(O)/tests/conversion_unit: cli/conversion.c
$(O)/tests/tracefs_unit: cli/tracefs.c cli/wait.c
$(O)/tests/devices_unit: examples/boot-linux/devices.c examples/boot-linux/vm.h
# These include what they test.
$(addprefix $(O)/tests/,gmem_bitmap_unit gmem_show_unit conversion_unit tracefs_unit devices_unit): SOURCES = $<

# tests/%.c, and what else is named above.
$(addprefix $(O)/tests/,$(UNITS)): $(O)/tests/%: tests/%.c
	@mkdir -p $(@D)
	$(CC) $(UNIT_FLAGS) $(SANITIZE) -o $@ $(SOURCES) -lcmocka

$(addprefix $(O)/tests/,libgmem_unit libgmem_valgrind): $(LIBGMEM_UNIT)
	@mkdir -p $(@D)
	$(CC) $(UNIT_FLAGS) $(if $(findstring valgrind,$@),,$(SANITIZE)) -Itests $(WRAP) -o $@ $(filter %.c,$^) -lcmocka

# Programs that run in the machine, with the library: tests/%.c, or all of tests/answers.
$(addprefix $(O)/tests/,$(filter-out answers,$(IN_MACHINE))): $(O)/tests/%: tests/%.c
$(O)/tests/answers: $(wildcard tests/answers/*.[ch] tests/*.h examples/vm*.h)
$(addprefix $(O)/tests/,$(IN_MACHINE)): $(O)/lib/libgmem.a
	@mkdir -p $(@D)
	$(CC) $(UNIT_FLAGS) -static -pthread -o $@ $(SOURCES) $(O)/lib/libgmem.a

# The programs of the manual, as a reader of it builds them.
MANUAL := libgmem gmem_adopt

.PHONY: manual-programs
manual-programs: $(addprefix $(O)/tests/manual/,$(MANUAL))

$(O)/tests/manual/%: man/%.3 man/program $(O)/stage/lib/pkgconfig/libgmem.pc
	@mkdir -p $(@D)
	man/program $< >$@.c
	$(CC) -Wall -Wextra -isystem $(O)/headers/include -static -o $@ $@.c \
		$$(PKG_CONFIG_PATH=$(O)/stage/lib/pkgconfig pkg-config --static --cflags --libs libgmem)

# answers has many files, and its .d would be that of the last one.
-include $(filter-out $(O)/tests/answers.d,$(wildcard $(O)/tests/*.d))

# FUZZ_SECONDS=10 of random requests; failing input is kept in $O/tests/fuzz.
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
