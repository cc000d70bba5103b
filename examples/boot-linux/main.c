// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A small VMM for arm64 that boots an unmodified Linux as a protected guest (pKVM), whose memory
 * is one guest_memfd.  It shows what a VMM needs libgmem for: all of that is in memory.c, and
 * the rest is what any VMM has.  This file has the options, the vCPUs and the end.  The kernel
 * emulates the GICv3, and PSCI except for the guest's request to power off.
 */
#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "vm.h"

#define MAX_CPUS	8
#define MAX_REPEATS	1000
#define CORE(r)	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(r))

static const char usage[] =
	"usage: boot-linux [OPTION]... IMAGE INITRD\n"
	"Boot the arm64 Linux IMAGE in a protected VM; the host needs kvm-arm.mode=protected.\n\n"
	"  --plain         an ordinary VM instead, for comparison\n"
	"  --cpus N        vCPUs, 1 to 8 (1)\n"
	"  --memory MIB    RAM, up to 3072 (128)\n"
	"  --disk FILE     a disk, which the guest may write to\n"
	"  --append TEXT   kernel arguments; earlycon=pl011,0x9000000 shows an early panic\n\n"
	"Exit status: 0 the guest powered off, 1 the VM could not be set up, 2 the guest reset or\n"
	"crashed, 3 a vCPU failed, 4 a conversion failed, 5 a device was given private memory or\n"
	"nonsense, 6 the host could read a private page.\n";

struct vm vm = { .lock = PTHREAD_MUTEX_INITIALIZER, .nr_devices = 1 };
static struct timespec began;

void finish(enum status status, const char *format, ...)
{
	struct timespec now;
	va_list args;

	va_start(args, format);
	vwarnx(format, args);
	va_end(args);
	if (status != SETUP_FAILED) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		warnx("%s VM, vCPUs: %u, %.2f s", vm.is_protected ? "protected" : "plain",
		      vm.nr_cpus, now.tv_sec - began.tv_sec + (now.tv_nsec - began.tv_nsec) / 1e9);
		if (vm.is_protected && !memory_report())
			status = NOT_PROTECTED;
	}
	/* The end of the process stops vCPUs that are still running, and frees the VM. */
	exit(status);
}

int check(int r, const char *what)
{
	if (r < 0)
		finish(SETUP_FAILED, "%s: %s", what, strerror(-r));
	return r;
}

static int create_vcpu(unsigned int index)
{
	int fd = IOCTL(vm.fd, KVM_CREATE_VCPU, index);
	struct kvm_vcpu_init init;

	IOCTL(vm.fd, KVM_ARM_PREFERRED_TARGET, &init);
	/* All but the first wait in KVM_RUN for the guest's CPU_ON. */
	init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2 | !!index << KVM_ARM_VCPU_POWER_OFF;
	IOCTL(fd, KVM_ARM_VCPU_INIT, &init);
	return fd;
}

static void set_gic(int fd, uint32_t group, uint64_t attr, uint64_t value)
{
	struct kvm_device_attr arg = { .group = group, .attr = attr, .addr = (uintptr_t)&value };

	IOCTL(fd, KVM_SET_DEVICE_ATTR, &arg);
}

/* After the vCPUs, each of which gets a redistributor. */
static void create_gic(void)
{
	struct kvm_create_device gic = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };

	IOCTL(vm.fd, KVM_CREATE_DEVICE, &gic);
	set_gic(gic.fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, GICD_GPA);
	set_gic(gic.fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, GICR_GPA);
	set_gic(gic.fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0);
}

static void handle_exit(struct kvm_run *run, int error)
{
	if (error)
		finish(VCPU_FAILED, "KVM_RUN: %s", strerror(-error));
	if (run->exit_reason == KVM_EXIT_MMIO)
		devices_mmio(run);
	else if (run->exit_reason != KVM_EXIT_SYSTEM_EVENT)
		finish(VCPU_FAILED, "unexpected exit %u", run->exit_reason);
	else if (run->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN)
		finish(POWERED_OFF, "the guest powered off");
	else
		finish(GUEST_FAILED, "the guest reset, as after a panic, or crashed");
}

static void *run_vcpu(void *arg)
{
	int fd = *(int *)arg, size = IOCTL(vm.kvm, KVM_GET_VCPU_MMAP_SIZE, 0), error, r;
	struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned int nr_repeats = 0;

	check(run == MAP_FAILED ? -errno : 0, "mapping a vCPU");
	for (;;) {
		error = SYS(ioctl(fd, KVM_RUN, 0));
		pthread_mutex_lock(&vm.lock);
		r = memory_handle_exit(run, error);
		if (r == 1 && error != -EINTR)
			handle_exit(run, error);
		/* Another vCPU may come first, but not again and again. */
		nr_repeats = r < 0 ? nr_repeats + 1 : 0;
		if (nr_repeats == MAX_REPEATS)
			finish(VCPU_FAILED, "no memory at %#llx", run->memory_fault.gpa);
		pthread_mutex_unlock(&vm.lock);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "plain", no_argument, NULL, 'p' },
		{ "cpus", required_argument, NULL, 'c' },
		{ "memory", required_argument, NULL, 'm' },
		{ "disk", required_argument, NULL, 'd' },
		{ "append", required_argument, NULL, 'a' },
		{}
	};
	const char *given[128] = { ['c'] = "1", ['m'] = "128", ['a'] = "" };
	uint64_t entry = RAM_GPA, fdt_gpa;
	struct kvm_one_reg pc = { CORE(regs.pc), (uintptr_t)&entry };
	struct kvm_one_reg x0 = { CORE(regs.regs[0]), (uintptr_t)&fdt_gpa };
	pthread_t thread;
	int fds[MAX_CPUS], c;
	unsigned int i;

	clock_gettime(CLOCK_MONOTONIC, &began);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1 && c != '?')
		given[c] = optarg ? optarg : "";
	vm.is_protected = !given['p'];
	vm.nr_cpus = strtoul(given['c'], NULL, 10);
	vm.ram_size = strtoul(given['m'], NULL, 10) << 20;
	if (c != -1 || optind != argc - 2 || vm.nr_cpus < 1 || vm.nr_cpus > MAX_CPUS ||
	    vm.ram_size < 2 << 20 || vm.ram_size > 3ul << 30) {
		fputs(usage, stderr);
		return SETUP_FAILED;
	}

	vm.kvm = check(SYS(open("/dev/kvm", O_RDWR | O_CLOEXEC)), "/dev/kvm");
	vm.fd = SYS(ioctl(vm.kvm, KVM_CREATE_VM, vm.is_protected ? KVM_VM_TYPE_ARM_PROTECTED : 0));
	check(vm.fd, vm.is_protected ? "a VM, needing kvm-arm.mode=protected" : "a VM");

	memory_create();
	if (given['d'])
		devices_add_disk(given['d']);
	fdt_gpa = boot_load(argv[optind], argv[optind + 1], given['a']);
	memory_make_private();

	for (i = 0; i < vm.nr_cpus; i++)
		fds[i] = create_vcpu(i);
	create_gic();
	IOCTL(fds[0], KVM_SET_ONE_REG, &pc);
	IOCTL(fds[0], KVM_SET_ONE_REG, &x0);
	for (i = 1; i < vm.nr_cpus; i++)
		check(-pthread_create(&thread, NULL, run_vcpu, &fds[i]), "pthread_create");
	run_vcpu(&fds[0]);
}
