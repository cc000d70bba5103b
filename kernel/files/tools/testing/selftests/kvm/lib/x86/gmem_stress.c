// SPDX-License-Identifier: GPL-2.0
/* What the threads and vCPUs of the stress test do, each on its own. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/falloc.h>
/* io_uring.h needs it from the uapi's stddef.h, which tools/include hides. */
#define __DECLARE_FLEX_ARRAY(type, name) type(name)[0]
#include <linux/io_uring.h>

#include "gmem_stress.h"

struct stress stress;

static struct gmem_vm *const g = &stress.g;
static unsigned int vcpu_seed;

/* Counted by the guest, in its own memory. */
static u64 nr_accesses[STRESS_VCPUS];

/* For each page: pins that have begun and not ended, and how often a pin began or ended. */
static int nr_pins[STRESS_PAGES];
static u64 pin_changes[STRESS_PAGES];
static bool is_poisoned[STRESS_PAGES];

/* Ends the process, with a reason. */
#define REQUIRE(condition, fmt, ...)						\
	do {									\
		if (!(condition)) {						\
			snprintf(stress.counts->failure,			\
				 sizeof(stress.counts->failure), fmt,		\
				 ##__VA_ARGS__);				\
			_exit(1);						\
		}								\
	} while (0)

static void count(u64 *counter)
{
	__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

u64 dice(unsigned int *state, u64 sides)
{
	return rand_r(state) % sides;
}

/* Memory failure also holds the page while it works on it. */
static bool is_explained(u64 page, u64 changes)
{
	return is_poisoned[page] || __atomic_load_n(&nr_pins[page], __ATOMIC_SEQ_CST) ||
	       __atomic_load_n(&pin_changes[page], __ATOMIC_SEQ_CST) != changes;
}

/*
 * A page that refuses must have been pinned, or poisoned, at some time during the call.  A
 * thread that unmaps a page and then gets no CPU holds it for longer than a conversion
 * waits: that must be rare, and over at the next attempt.
 */
static void convert_somewhere(unsigned int *state, bool by_gpa)
{
	u64 first = dice(state, STRESS_PAGES), nr = 1 + dice(state, STRESS_PAGES - first);
	u64 attributes = dice(state, 2) ? PRIVATE : SHARED;
	u64 changes[STRESS_PAGES], where, policy = dice(state, 3), base = by_gpa ? GMEM_GPA : 0, i;
	bool is_transient = false;
	int r;

again:
	for (i = 0; i < STRESS_PAGES; i++)
		changes[i] = __atomic_load_n(&pin_changes[i], __ATOMIC_SEQ_CST);

	r = __gmem_convert(by_gpa ? g->vm->fd : g->fd, base + first * PAGE_SIZE, nr * PAGE_SIZE,
			   attributes, policy, &where);
	count(&stress.counts->conversions);
	if (!r)
		return;

	/* Without its slot the range belongs to the VM, which supports only NONE. */
	if (by_gpa && r == -EOPNOTSUPP && policy != NONE)
		return;
	/* By now the file may be closed, or the VM. */
	if (READ_ONCE(stress.stop) && ((by_gpa && r == -EINVAL) || r == -EBADF || r == -EIO))
		return;

	count(&stress.counts->refused);
	i = (where - base) / PAGE_SIZE;
	REQUIRE(i >= first && i < first + nr, "%s, with error_offset %#lx outside of the request",
		strerror(-r), where);
	if (r == -EHWPOISON) {
		REQUIRE(is_poisoned[i], "EHWPOISON for page %lu, which is not poisoned", i);
		return;
	}
	REQUIRE(r == -EAGAIN && attributes, "conversion to %s failed: %s",
		attributes ? "private" : "shared", strerror(-r));
	if (is_explained(i, changes[i]))
		return;

	REQUIRE(!is_transient, "EAGAIN again for page %lu, which nobody has pinned", i);
	is_transient = true;
	count(&stress.counts->transient);
	goto again;
}

static void *convert_the_file(void *data)
{
	unsigned int state = (uintptr_t)data;

	while (!READ_ONCE(stress.stop))
		convert_somewhere(&state, false);
	return NULL;
}

static void *convert_by_gpa(void *data)
{
	unsigned int state = (uintptr_t)data;

	while (!READ_ONCE(stress.stop))
		convert_somewhere(&state, true);
	return NULL;
}

/* Reads and writes by system calls, where the kernel returns EFAULT instead of SIGBUS. */
static void *access_from_the_host(void *data)
{
	int zero = open("/dev/zero", O_RDWR), sink = memfd_create("sink", 0);
	unsigned int state = (uintptr_t)data;
	void *other;

	while (!READ_ONCE(stress.stop)) {
		u8 *page = g->mem + dice(&state, STRESS_PAGES) * PAGE_SIZE;

		switch (dice(&state, 8)) {
		case 0:
			(void)madvise(page, PAGE_SIZE, MADV_POPULATE_READ);
			break;
		case 1:
			(void)madvise(page, PAGE_SIZE, MADV_POPULATE_WRITE);
			break;
		case 2:
			(void)madvise(page, PAGE_SIZE, MADV_DONTNEED);
			break;
		case 3:
			other = mmap(NULL, STRESS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
				     g->fd, 0);
			if (other == MAP_FAILED)
				break;
			(void)madvise(other, STRESS_SIZE, MADV_POPULATE_READ);
			munmap(other, STRESS_SIZE);
			break;
		case 4:
		case 5:
			(void)!pwrite(sink, page, PAGE_SIZE, 0);
			break;
		default:
			(void)!read(zero, page, PAGE_SIZE);
			break;
		}
	}
	return NULL;
}

static int pin_in_ring(void *hva)
{
	struct iovec iov = { .iov_base = hva, .iov_len = PAGE_SIZE };
	struct io_uring_params params = {};
	int ring = syscall(__NR_io_uring_setup, 1, &params);

	if (ring >= 0 && syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1)) {
		close(ring);
		return -1;
	}

	return ring;
}

/* Each thread of this kind has one pin at a time. */
static void *pin_and_unpin(void *data)
{
	unsigned int state = (uintptr_t)data;

	while (!READ_ONCE(stress.stop)) {
		u64 page = dice(&state, STRESS_PAGES), kind = dice(&state, 3);
		u8 *hva = g->mem + page * PAGE_SIZE;
		int pipefd[2], fd, r = -1;

		__atomic_add_fetch(&nr_pins[page], 1, __ATOMIC_SEQ_CST);
		__atomic_add_fetch(&pin_changes[page], 1, __ATOMIC_SEQ_CST);

		if (kind == 0) {
			r = pin_in_pipe(hva, pipefd);
		} else if (kind == 1) {
			r = pin_longterm(hva, &fd);
		} else {
			fd = pin_in_ring(hva);
			r = fd < 0 ? -1 : 0;
		}
		if (!r)
			count(&stress.counts->pins);
		usleep(dice(&state, 2000));

		if (kind == 0) {
			unpin_pipe(pipefd);
		} else if (fd >= 0) {
			if (kind == 2)
				syscall(__NR_io_uring_register, fd, IORING_UNREGISTER_BUFFERS,
					NULL, 0);
			close(fd);
		}

		__atomic_add_fetch(&pin_changes[page], 1, __ATOMIC_SEQ_CST);
		__atomic_sub_fetch(&nr_pins[page], 1, __ATOMIC_SEQ_CST);
		usleep(dice(&state, 500));
	}
	return NULL;
}

static void set_slot(u64 size)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = GMEM_SLOT,
		.flags = KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = GMEM_GPA,
		.memory_size = size,
		.userspace_addr = (uintptr_t)g->mem,
		.guest_memfd = g->fd,
	};

	(void)__vm_ioctl(g->vm, KVM_SET_USER_MEMORY_REGION2, &region);
}

/* The file's size and slots, other processes that map it, memory errors. */
static void *disturb(void *data)
{
	unsigned int state = (uintptr_t)data;
	bool was_poisoned;
	int nr_poisoned = 0;
	pid_t pid;

	while (!READ_ONCE(stress.stop)) {
		u64 page = dice(&state, STRESS_PAGES), nr = 1 + dice(&state, 8);

		switch (dice(&state, 16)) {
		case 0:
			/*
			 * In kvm_tdp_mmu_map(), a fault that found no slot can meet one of
			 * another vCPU that found the new one.  It then warns about the two
			 * different pfns; on any VM, whatever the slot is bound to.
			 */
			if (stress.nr_vcpus > 1)
				break;
			set_slot(0);
			set_slot(STRESS_SIZE);
			break;
		case 1:
			/*
			 * The child shares the file table; with a copy, it would hold what
			 * others have in pipes.
			 */
			pid = syscall(__NR_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, 0);
			if (!pid) {
				(void)madvise(g->mem, STRESS_SIZE, MADV_POPULATE_READ);
				_exit(0);
			}
			waitpid(pid, NULL, 0);
			break;
		case 2:
			/* Each one permanently costs the machine a page. */
			if (nr_poisoned++ >= 2)
				break;
			was_poisoned = is_poisoned[page];
			is_poisoned[page] = true;
			/*
			 * EFAULT means that the page was not mapped, or was already
			 * poisoned; other errors are returned too late to matter.
			 */
			if (madvise(g->mem + page * PAGE_SIZE, PAGE_SIZE, MADV_HWPOISON) &&
			    errno == EFAULT)
				is_poisoned[page] = was_poisoned;
			else
				count(&stress.counts->poisoned);
			break;
		case 3 ... 7:
			(void)fallocate(g->fd, FALLOC_FL_KEEP_SIZE, page * PAGE_SIZE,
					nr * PAGE_SIZE);
			break;
		default:
			(void)fallocate(g->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
					page * PAGE_SIZE, nr * PAGE_SIZE);
			break;
		}
		usleep(dice(&state, 300));
	}
	return NULL;
}

static void guest_access(u64 state, u64 id)
{
	for (;;) {
		u64 page, i;

		for (i = 0; i < 256; i++) {
			state = state * 6364136223846793005ull + 1442695040888963407ull;
			page = (state >> 33) % STRESS_PAGES;
			if (state >> 63)
				WRITE_ONCE(*(u8 *)(GMEM_GPA + page * PAGE_SIZE), state >> 40);
			else
				READ_ONCE(*(u8 *)(GMEM_GPA + page * PAGE_SIZE));
			WRITE_ONCE(nr_accesses[id], nr_accesses[id] + 1);
		}
		GUEST_SYNC(0);
	}
}

/* Whatever a fault encounters, the guest continues; but it must make progress. */
static void *run_vcpu(void *data)
{
	struct kvm_vcpu *vcpu = data;
	unsigned int state = vcpu_seed + vcpu->id;

	while (!READ_ONCE(stress.stop)) {
		struct kvm_pre_fault_memory range = {
			.gpa = GMEM_GPA + dice(&state, STRESS_PAGES) * PAGE_SIZE,
			.size = PAGE_SIZE,
		};
		int r = __vcpu_run(vcpu);
		u32 reason = vcpu->run->exit_reason;

		REQUIRE(!r || errno == EFAULT || errno == EHWPOISON || errno == EINTR ||
			errno == EAGAIN || READ_ONCE(stress.stop),
			"KVM_RUN failed: %s", strerror(errno));
		REQUIRE(r || reason == KVM_EXIT_IO || reason == KVM_EXIT_MMIO ||
			reason == KVM_EXIT_MEMORY_FAULT, "exit reason %u", reason);
		count(&stress.counts->guest_runs);
		if (dice(&state, 8) == 0)
			(void)__vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
	}
	return NULL;
}

static void ignore(int sig)
{
}

/* If a guest does not reach its next exit, KVM is to blame; @vcpu shows where the guest is. */
static void join_vcpu(pthread_t thread, struct kvm_vcpu *vcpu)
{
	u64 *accesses = addr_gva2hva(g->vm, (u64)&nr_accesses[vcpu->id]), before = *accesses;
	struct kvm_sync_regs *at = &vcpu->run->s.regs;
	struct timespec deadline;
	int stuck;

	for (stuck = 0; stuck < STUCK_SECONDS; stuck++) {
		/* time() is coarser than the clock with which the deadline is compared. */
		clock_gettime(CLOCK_REALTIME, &deadline);
		deadline.tv_sec++;
		if (!pthread_timedjoin_np(thread, NULL, &deadline))
			return;
		if (READ_ONCE(*accesses) != before)
			stuck = 0;
		before = READ_ONCE(*accesses);
	}

	WRITE_ONCE(vcpu->run->immediate_exit, 1);
	pthread_kill(thread, SIGUSR1);
	kvm_pthread_join(thread, NULL);
	REQUIRE(false, "the guest is stuck for %d s: rip %#llx rsp %#llx rax %#llx cr2 %#llx",
		STUCK_SECONDS, at->regs.rip, at->regs.rsp, at->regs.rax, at->sregs.cr2);
}

static void *(*const workers[])(void *) = {
	convert_the_file, convert_by_gpa, access_from_the_host,
	access_from_the_host, pin_and_unpin, pin_and_unpin, disturb,
};

static pthread_t threads[ARRAY_SIZE(workers)], runners[STRESS_VCPUS];

void stress_begin(unsigned int seed)
{
	struct sigaction sa = { .sa_handler = ignore };
	struct kvm_vcpu *vcpu;
	size_t i;

	/* A memory error is reported to whoever maps the page. */
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	gmem_vm_create(g, STRESS_PAGES, GMEM_IN_PLACE);
	vcpu_seed = seed;
	for (i = 0; i < stress.nr_vcpus; i++) {
		vcpu = i ? vm_vcpu_add(g->vm, i, guest_access) : g->vcpu;
		vcpu_arch_set_entry_point(vcpu, guest_access);
		vcpu_args_set(vcpu, 2, seed + i, i);
		vcpu->run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
		stress.vcpus[i] = vcpu;
		kvm_pthread_create(&runners[i], NULL, run_vcpu, vcpu);
	}
	for (i = 0; i < ARRAY_SIZE(workers); i++)
		kvm_pthread_create(&threads[i], NULL, workers[i],
				   (void *)(uintptr_t)(seed + i * 7919));
}

void stress_end(void)
{
	size_t i;

	for (i = 0; i < stress.nr_vcpus; i++)
		join_vcpu(runners[i], stress.vcpus[i]);
	for (i = 0; i < ARRAY_SIZE(workers); i++)
		kvm_pthread_join(threads[i], NULL);
}
