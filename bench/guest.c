// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A guest that touches pages, and nothing else, on as many vCPUs as are asked for.
 *
 * QEMU's emulator of SVM can take a #VMEXIT twice and save the host's registers as the
 * guest's, who then faults for ever inside of KVM_RUN.  So a run that does not end is
 * kicked; if the guest has an address of the kernel, its vCPU is made anew, the run is
 * repeated, and whoever measures is told.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

#define CODE_GPA	0x1000ul
#define CODE_SLOT	0
#define CR0_PE		1
#define PATIENCE_S	20

/* EDI is the first page, ECX how many. */
static const uint8_t code[] = {
	0xff, 0x07,				/* 1: incl (%edi) */
	0x81, 0xc7, 0x00, 0x10, 0x00, 0x00,	/* addl $4096, %edi */
	0x49,					/* decl %ecx */
	0x75, 0xf5,				/* jnz 1b */
	0xf4,					/* hlt */
};

/* Runs of vCPUs, by whom, as no two guests run at once; number 0 is no run. */
static struct watch {
	atomic_uint number;
	pid_t tid;
} watches[GUEST_VCPUS];

static atomic_uint nr_faults;
static _Thread_local pid_t tid;

unsigned int guest_emulator_faults(void)
{
	return atomic_load(&nr_faults);
}

static void ignore(int signal)
{
	(void)signal;
}

/* Kick who is in the same run as PATIENCE_S before. */
static void *watch(void *arg)
{
	unsigned int before[GUEST_VCPUS] = { }, i, number;

	(void)arg;
	for (;;) {
		sleep(PATIENCE_S);
		for (i = 0; i < GUEST_VCPUS; i++) {
			number = atomic_load(&watches[i].number);
			if (number && number == before[i])
				syscall(SYS_tgkill, getpid(), watches[i].tid, SIGUSR1);
			before[i] = number;
		}
	}
	return NULL;
}

static void start_watch(void)
{
	struct sigaction action = { .sa_handler = ignore };
	pthread_t thread;

	sigaction(SIGUSR1, &action, NULL);
	errno = pthread_create(&thread, NULL, watch, NULL);
	if (errno)
		bench_die("pthread_create");
	pthread_detach(thread);
}

void guest_watch_child(void)
{
	unsigned int i;

	tid = 0;
	for (i = 0; i < GUEST_VCPUS; i++)
		atomic_store(&watches[i].number, 0);
	if (!clock_is_instructions())
		start_watch();
}

static void flat(struct kvm_segment *segment, uint8_t type)
{
	*segment = (struct kvm_segment){
		.limit = 0xffffffff, .selector = type == 11 ? 8 : 16, .type = type,
		.present = 1, .db = 1, .s = 1, .g = 1,
	};
}

static int vcpu_create(struct guest *guest, unsigned int id)
{
	struct kvm_sregs sregs;
	int fd = ioctl(guest->fd, KVM_CREATE_VCPU, id);

	if (fd < 0)
		bench_die("KVM_CREATE_VCPU %u", id);
	if (ioctl(fd, KVM_GET_SREGS, &sregs))
		bench_die("KVM_GET_SREGS");
	flat(&sregs.cs, 11);
	flat(&sregs.ds, 3);
	flat(&sregs.es, 3);
	flat(&sregs.ss, 3);
	sregs.cr0 |= CR0_PE;
	if (ioctl(fd, KVM_SET_SREGS, &sregs))
		bench_die("KVM_SET_SREGS");
	guest->sregs[id] = sregs;
	if (ioctl(fd, KVM_GET_VCPU_EVENTS, &guest->events[id]))
		bench_die("KVM_GET_VCPU_EVENTS");
	/* Secondary vCPUs would wait for a start-up interrupt. */
	if (id) {
		struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_RUNNABLE };

		if (ioctl(fd, KVM_SET_MP_STATE, &state) && errno != EINVAL && errno != ENXIO)
			bench_die("KVM_SET_MP_STATE");
	}

	return fd;
}

void guest_create(struct guest *guest, unsigned int nr_vcpus)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct kvm_userspace_memory_region2 region = {
		.slot = CODE_SLOT, .guest_phys_addr = CODE_GPA, .memory_size = BENCH_PAGE,
	};
	unsigned int i;
	uint8_t *page;

	guest->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (guest->kvm < 0)
		bench_die("cannot open /dev/kvm");
	guest->fd = ioctl(guest->kvm, KVM_CREATE_VM, KVM_X86_SW_PROTECTED_VM);
	if (guest->fd < 0 && errno == EINVAL)
		bench_lacks("VMs of type KVM_X86_SW_PROTECTED_VM: they need "
			    "CONFIG_KVM_SW_PROTECTED_VM and nested paging");
	if (guest->fd < 0)
		bench_die("KVM_CREATE_VM of type KVM_X86_SW_PROTECTED_VM");

	page = mmap(NULL, BENCH_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		bench_die("mmap of the guest's code");
	memcpy(page, code, sizeof(code));
	region.userspace_addr = (uintptr_t)page;
	if (ioctl(guest->fd, KVM_SET_USER_MEMORY_REGION2, &region))
		bench_die("KVM_SET_USER_MEMORY_REGION2 of the code");

	guest->nr_vcpus = nr_vcpus;
	for (i = 0; i < nr_vcpus; i++)
		guest->vcpus[i] = vcpu_create(guest, i);

	/* A count of instructions must not depend on another thread. */
	if (!clock_is_instructions())
		pthread_once(&once, start_watch);
}

void guest_destroy(struct guest *guest)
{
	unsigned int i;

	for (i = 0; i < guest->nr_vcpus; i++)
		close(guest->vcpus[i]);
	close(guest->fd);
	close(guest->kvm);
}

static void vcpu_reset(struct guest *guest, unsigned int vcpu)
{
	if (ioctl(guest->vcpus[vcpu], KVM_SET_SREGS, &guest->sregs[vcpu]) ||
	    ioctl(guest->vcpus[vcpu], KVM_SET_VCPU_EVENTS, &guest->events[vcpu]))
		bench_die("resetting vCPU %u", vcpu);
}

/* KVM_RUN until the guest halts; false if the emulator has lost it. */
static bool run(int fd)
{
	struct kvm_regs regs;
	int r;

	/* A fault that raced with a conversion leaves to user space: run again. */
	while ((r = ioctl(fd, KVM_RUN, 0)) && (errno == EINTR || errno == EFAULT)) {
		if (errno != EINTR)
			continue;
		if (ioctl(fd, KVM_GET_REGS, &regs))
			bench_die("KVM_GET_REGS");
		if (regs.rip >> 63)
			return false;
	}
	if (r)
		bench_die("KVM_RUN");

	return true;
}

void guest_touch(struct guest *guest, unsigned int vcpu, uint64_t gpa, uint64_t size)
{
	static atomic_uint number;
	struct watch *watch = &watches[vcpu];
	struct kvm_regs regs = {
		.rip = CODE_GPA, .rdi = gpa, .rcx = size / BENCH_PAGE, .rflags = 2,
	};
	int fd = guest->vcpus[vcpu];

	if (!tid)
		tid = syscall(SYS_gettid);
	if (ioctl(fd, KVM_SET_REGS, &regs))
		bench_die("KVM_SET_REGS");
	watch->tid = tid;
	atomic_store(&watch->number, atomic_fetch_add(&number, 1) + 1);
	while (!run(fd)) {
		fprintf(stderr, "the emulator has lost a vCPU, which runs again\n");
		atomic_fetch_add(&nr_faults, 1);
		vcpu_reset(guest, vcpu);
		if (ioctl(fd, KVM_SET_REGS, &regs))
			bench_die("KVM_SET_REGS");
	}
	atomic_store(&watch->number, 0);
	if (ioctl(fd, KVM_GET_REGS, &regs))
		bench_die("KVM_GET_REGS");
	if (regs.rcx || regs.rdi != gpa + size) {
		errno = EPROTO;
		bench_die("the guest has not touched %llu bytes at %#llx",
			  (unsigned long long)size, (unsigned long long)gpa);
	}
}
