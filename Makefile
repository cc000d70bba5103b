# SPDX-License-Identifier: GPL-2.0
# The front door.  It only delegates; "make help" lists what there is.
#
# O=build        where all output goes (absolute, or relative to this directory)
# ARCH=arm64     for make kernel, cli, lib, examples, deb; output names end in -arm64
# V=1            show each command
# KERNEL_SOURCE= a kernel tree, or a tarball of one, to use instead of Debian's package
# KERNEL_BASE=7.3 the kernel of kernel/base to use, where that has more than one
# ACCEL=kvm      boot with the host's KVM instead of the emulator
# KERNEL=, STRESS_SECONDS=   for make stress

O ?= build
export O := $(abspath $(O))
export V KERNEL_SOURCE KERNEL_BASE ACCEL

KERNEL ?= release
STRESS_SECONDS ?= 300

CFLAGS ?= -O2 -g
C := -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -MMD -MP

override ARCH := $(patsubst x86,x86_64,$(or $(ARCH),x86_64))
# An override is not passed on by itself; the kernel's make has its own word for x86_64.
ifneq ($(ARCH),x86_64)
export ARCH
endif
arch = $(shell bash -c '. vm/arch/$(ARCH).sh && echo "$$$(1)"')
SUFFIX := $(call arch,SUFFIX)
CROSS_COMPILE := $(call arch,CROSS_COMPILE)
ifneq ($(CROSS_COMPILE),)
CC := $(CROSS_COMPILE)gcc
LD := $(CROSS_COMPILE)ld
AR := $(CROSS_COMPILE)ar
OBJCOPY := $(CROSS_COMPILE)objcopy
# The sysroot's headers come after the compiler's own, whose libc is the one linked.
SYSROOT := $(O)/sysroot$(SUFFIX)/usr
CROSS_FLAGS := -isystem $(O)/headers$(SUFFIX)/include \
	$(addprefix -idirafter ,$(SYSROOT)/include $(wildcard $(SYSROOT)/include/*-linux-gnu)) \
	$(addprefix -L,$(wildcard $(SYSROOT)/lib/*-linux-gnu))
C += $(CROSS_FLAGS)
# Targets that run on the host, or compare, are for x86_64.
ifneq ($(filter test test-stock test-debug test-starved test-fresh bench bench-check stress unit fuzz lint series coverage rust-test rust-examples,$(MAKECMDGOALS)),)
$(error make $(MAKECMDGOALS) is not for ARCH=$(ARCH))
endif
endif

PACKAGES := gcc make libc6-dev bc bison flex cpio rsync xz-utils patch perl libelf-dev libssl-dev uuid-dev \
	ccache $(call arch,ARCH_PACKAGES)
TEST_PACKAGES := g++ pkg-config sparse shellcheck cppcheck libcmocka-dev \
	valgrind clang libclang-rt-dev mandoc git python3 rustc cargo rust-clippy
BENCH_PACKAGES := python3-matplotlib
FRESH_PACKAGES := git mmdebstrap
DEB_PACKAGES := git dpkg-dev debhelper pkg-config lintian mmdebstrap kmod libdw-dev

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile lib/build.mk docs/build.mk examples/build.mk bindings/rust/build.mk tests/build.mk | expand -t 16

.PHONY: run
run: ## boot the kernel and show a guest whose memory is converted in place
	@vm/packages $(PACKAGES)
	@vm/sysroot
	@vm/build release
	@$(MAKE) -s cli
	@vm/run $(O)/cli$(SUFFIX)/gmem demo

.PHONY: run-arm64
run-arm64: ## boot a protected Linux on one guest_memfd, on an emulated arm64; needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-system-arm
	@$(MAKE) --no-print-directory ARCH=arm64 kernel
	@$(MAKE) -s ARCH=arm64 boot-linux
	@examples/boot-linux/run

.PHONY: test
test: ## run lint, unit tests, and the suite in the machine
	@vm/packages $(PACKAGES) $(TEST_PACKAGES)
	@tests/promtool --version >/dev/null
	@vm/build release
	@vm/selftests
	@$(MAKE) -s lib cli unit examples rust-examples manual-programs $(O)/docs/scene
	@tests/test

.PHONY: test-arm64
test-arm64: ## run the suite, the command and the examples there; needs the same
	@$(MAKE) --no-print-directory ARCH=arm64 kernel
	@ARCH=arm64 vm/selftests
	@vm/packages rustc cargo pkg-config
	@$(MAKE) -s ARCH=arm64 cli examples boot-linux rust-example
	@tests/arm64

.PHONY: test-arm64-debug
test-arm64-debug: ## run the suite there, on a kernel that looks for mistakes
	@$(MAKE) --no-print-directory ARCH=arm64 kernel
	@ARCH=arm64 vm/selftests
	@ARCH=arm64 vm/build debug
	@tests/arm64 debug

.PHONY: test-arm64-stock
test-arm64-stock: ## compare the cost of a protected guest's anonymous memory there with the stock kernel
	@$(MAKE) --no-print-directory ARCH=arm64 kernel
	@ARCH=arm64 vm/selftests
	@ARCH=arm64 vm/build stock
	@tests/rate

.PHONY: test-stock
test-stock: ## run the suite on the stock kernel, to show that it can fail
	@vm/packages $(PACKAGES) $(TEST_PACKAGES)
	@vm/build release
	@vm/selftests
	@vm/build stock
	@$(MAKE) -s cli examples
	@tests/stock

.PHONY: test-debug
test-debug: ## run the suite on kernels that look for mistakes: KASAN, lockdep, leaks, KCSAN
	@vm/packages $(PACKAGES) $(TEST_PACKAGES)
	@vm/build release
	@vm/selftests
	@vm/build debug
	@vm/build kcsan
	@$(MAKE) -s lib cli unit examples
	@tests/debug

.PHONY: test-starved
test-starved: ## run the suite in the machine, with 10 busy loops beside it
	@vm/packages $(PACKAGES) $(TEST_PACKAGES)
	@vm/build release
	@vm/selftests
	@tests/starved

.PHONY: test-fresh
test-fresh: ## run "make run" and "make test" in a minimal Debian 12 and 13; CCACHE_DIR= to repeat it quickly
	@vm/packages $(FRESH_PACKAGES)
	@tests/fresh

.PHONY: bench
bench: ## measure conversions against the old way, about 14 minutes; results in bench/results
	@vm/packages $(PACKAGES) $(BENCH_PACKAGES)
	@vm/build release
	@$(MAKE) -s cli
	@bench/run

.PHONY: bench-check
bench-check: ## count instructions, and fail if a count is 10 % off the committed one
	@vm/packages $(PACKAGES) python3
	@vm/build release
	@$(MAKE) -s cli
	@bench/run check

.PHONY: stress
stress: ## run all operations at once, KERNEL=release STRESS_SECONDS=300
	@vm/packages $(PACKAGES) $(TEST_PACKAGES)
	@vm/build release
	@vm/selftests
	@vm/build $(KERNEL)
	@STRESS_SECONDS=$(STRESS_SECONDS) tests/machine $(KERNEL) $(O)/selftests/gmem_stress_test

.PHONY: series
series: ## make the kernel part as patches for "git am", each one checked and built
	@vm/packages $(PACKAGES) $(TEST_PACKAGES) git
	@vm/build release
	@tools/series

.PHONY: coverage
coverage: ## compile KVM in configurations that do not run here: modules, SEV, TDX, arm64
	@vm/packages $(PACKAGES) gcc-aarch64-linux-gnu
	@vm/build release
	@tools/coverage

.PHONY: deb
deb: ## make Debian packages of libgmem, gmem and the kernel, and try them; KERNEL_CONFIG=, ARCH=arm64
	@vm/packages $(PACKAGES) $(DEB_PACKAGES)
	@vm/sysroot
	@tools/deb

.PHONY: lint
lint: ## run the checkers on the sources; silent on success
	@vm/packages $(PACKAGES) $(TEST_PACKAGES)
	@vm/build release
	@tools/lint

.PHONY: kernel
kernel: ## build the release kernel
	@vm/packages $(PACKAGES)
	@vm/sysroot
	@vm/build release

.PHONY: cli
cli: $(O)/cli$(SUFFIX)/gmem ## build the gmem command, static

# Files named after an architecture are compiled only for it, and bench only for x86.
OTHER := $(if $(filter arm64,$(ARCH)),x86,arm64)

CLI := $(patsubst cli/%.c,$(O)/cli$(SUFFIX)/%.o,$(filter-out %_$(OTHER).c,$(wildcard cli/*.c)))
BENCH := $(if $(filter x86_64,$(ARCH)),$(patsubst bench/%.c,$(O)/bench/%.o,$(wildcard bench/*.c)))
COMMON := $(patsubst common/%.c,$(O)/common$(SUFFIX)/%.o,$(wildcard common/*.c))

$(O)/cli$(SUFFIX)/gmem: $(CLI) $(BENCH) $(COMMON) $(O)/lib$(SUFFIX)/libgmem.a
	$(CC) $(LDFLAGS) $(CROSS_FLAGS) -static -pthread -o $@ $^ -lpng -lz -lm

$(O)/common$(SUFFIX)/%.o: common/%.c
	@mkdir -p $(@D)
	$(CC) $(C) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(O)/bench/%.o: bench/%.c
	@mkdir -p $(@D)
	$(CC) $(C) $(CPPFLAGS) $(CFLAGS) -pthread -Ilib $(UAPI) -c -o $@ $<

$(O)/cli$(SUFFIX)/%.o: cli/%.c
	@mkdir -p $(@D)
	$(CC) $(C) $(CPPFLAGS) $(CFLAGS) -Ilib $(UAPI) -c -o $@ $<

include lib/build.mk
include examples/build.mk
include examples/boot-linux/build.mk
include bindings/rust/build.mk

include docs/build.mk
include tests/build.mk

.PHONY: clean
clean: ## remove what was made, except downloads and the compiler's cache
	rm -rf $(filter-out $(O)/download,$(wildcard $(O)/*)) $(O)/*.lock

-include $(CLI:.o=.d) $(BENCH:.o=.d) $(COMMON:.o=.d)

.DELETE_ON_ERROR:
