// SPDX-License-Identifier: GPL-2.0
/*
 * Everything against everything on the same pages, in a process that ends in one of
 * four ways.  What is promised under all this: nothing but a pin makes a conversion
 * fail for long, and when the process is gone nothing is left of it.
 *
 * SECONDS= says for how long, without it the number of rounds is fixed.  SEED= is where
 * the dice begin, VCPUS= how many the guest has at most.
 */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/falloc.h>
/* io_uring.h wants it from the uapi's stddef.h, which tools/include hides. */
#define __DECLARE_FLEX_ARRAY(type, name) type(name)[0]
#include <linux/io_uring.h>

#include "gmem_harness.h"
#include "gmem_util.h"

#define PAGES		64
#define SIZE		(PAGES * PAGE_SIZE)
#define MAX_VCPUS	4

/* Rounds, and how many conversions a round has at most. */
#define ROUNDS		32
#define ROUND_WORK	2000

/* How long a guest makes no access, or a count does not change, before it is a fault. */
#define STUCK_SECONDS	60

enum ending {
	ORDERLY,
	FILE_FIRST,
	VM_FIRST,
	KILLED,
	NR_ENDINGS,
};

static struct gmem_vm g;
static struct kvm_vcpu *vcpus[MAX_VCPUS];
static u64 nr_vcpus;
static unsigned int vcpu_seed;
static bool stop;

/* Counted by the guest, in its own memory. */
static u64 nr_accesses[MAX_VCPUS];

/* Pins begun and not ended, and how often one began or ended, for each page. */
static int nr_pins[PAGES];
static u64 pin_changes[PAGES];
static bool is_poisoned[PAGES];

/* In memory that the processes share, for the parent to print. */
static struct counts {
	u64 conversions;
	u64 refused;
	u64 transient;
	u64 pins;
	u64 poisoned;
	u64 guest_runs;
	char failure[160];
} *counts;

/* Ends the process, with a reason. */
#define REQUIRE(condition, fmt, ...)						\
	do {									\
		if (!(condition)) {						\
			snprintf(counts->failure, sizeof(counts->failure), fmt,	\
				 ##__VA_ARGS__);				\
			_exit(1);						\
		}								\
	} while (0)

static void count(u64 *counter)
{
	__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

static u64 dice(unsigned int *state, u64 sides)
{
	return rand_r(state) % sides;
}

/* Memory failure holds the page too while it works. */
static bool is_explained(u64 page, u64 changes)
{
	return is_poisoned[page] || __atomic_load_n(&nr_pins[page], __ATOMIC_SEQ_CST) ||
	       __atomic_load_n(&pin_changes[page], __ATOMIC_SEQ_CST) != changes;
}

/*
 * What refuses must have been pinned, or poisoned, at some time during the call.
 * Whoever unmaps a page and then gets no CPU holds it for longer than a conversion
 * waits: that must be rare, and over at the next attempt.
 */
static void convert_somewhere(unsigned int *state, bool by_gpa)
{
	u64 first = dice(state, PAGES), nr = 1 + dice(state, PAGES - first);
	u64 attributes = dice(state, 2) ? PRIVATE : SHARED;
	u64 changes[PAGES], where, policy = dice(state, 3), base = by_gpa ? GMEM_GPA : 0, i;
	bool is_transient = false;
	int r;

again:
	for (i = 0; i < PAGES; i++)
		changes[i] = __atomic_load_n(&pin_changes[i], __ATOMIC_SEQ_CST);

	r = __gmem_convert(by_gpa ? g.vm->fd : g.fd, base + first * PAGE_SIZE, nr * PAGE_SIZE,
			   attributes, policy, &where);
	count(&counts->conversions);
	if (!r)
		return;

	/* Without its slot the range is the VM's, of which only NONE can be asked. */
	if (by_gpa && r == -EOPNOTSUPP && policy != NONE)
		return;
	/* The file may be closed by now, or the VM. */
	if (READ_ONCE(stop) && ((by_gpa && r == -EINVAL) || r == -EBADF || r == -EIO))
		return;

	count(&counts->refused);
	i = (where - base) / PAGE_SIZE;
	REQUIRE(i >= first && i < first + nr, "%s, with error_offset %#lx outside of the request",
		strerror(-r), where);
	if (r == -EHWPOISON) {
		REQUIRE(is_poisoned[i], "EHWPOISON for page %lu, which is not", i);
		return;
	}
	REQUIRE(r == -EAGAIN && attributes, "conversion to %s failed: %s",
		attributes ? "private" : "shared", strerror(-r));
	if (is_explained(i, changes[i]))
		return;

	REQUIRE(!is_transient, "EAGAIN again for page %lu, which nobody has pinned", i);
	is_transient = true;
	count(&counts->transient);
	goto again;
}

static void *convert_the_file(void *data)
{
	unsigned int state = (uintptr_t)data;

	while (!READ_ONCE(stop))
		convert_somewhere(&state, false);
	return NULL;
}

static void *convert_by_gpa(void *data)
{
	unsigned int state = (uintptr_t)data;

	while (!READ_ONCE(stop))
		convert_somewhere(&state, true);
	return NULL;
}

/* Reads and writes by way of the kernel, which says EFAULT instead of SIGBUS. */
static void *access_from_the_host(void *data)
{
	int zero = open("/dev/zero", O_RDWR), sink = memfd_create("sink", 0);
	unsigned int state = (uintptr_t)data;
	void *other;

	while (!READ_ONCE(stop)) {
		u8 *page = g.mem + dice(&state, PAGES) * PAGE_SIZE;

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
			other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g.fd, 0);
			if (other == MAP_FAILED)
				break;
			(void)madvise(other, SIZE, MADV_POPULATE_READ);
			munmap(other, SIZE);
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

/* One pin at a time by each thread of this kind. */
static void *pin_and_unpin(void *data)
{
	unsigned int state = (uintptr_t)data;

	while (!READ_ONCE(stop)) {
		u64 page = dice(&state, PAGES), kind = dice(&state, 3);
		u8 *hva = g.mem + page * PAGE_SIZE;
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
			count(&counts->pins);
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
		.userspace_addr = (uintptr_t)g.mem,
		.guest_memfd = g.fd,
	};

	(void)__vm_ioctl(g.vm, KVM_SET_USER_MEMORY_REGION2, &region);
}

/* The file's size and slots, other processes that map it, memory errors. */
static void *disturb(void *data)
{
	unsigned int state = (uintptr_t)data;
	bool was_poisoned;
	int nr_poisoned = 0;
	pid_t pid;

	while (!READ_ONCE(stop)) {
		u64 page = dice(&state, PAGES), nr = 1 + dice(&state, 8);

		switch (dice(&state, 16)) {
		case 0:
			/*
			 * A fault that found no slot and one of another vCPU that found
			 * the new one meet in kvm_tdp_mmu_map(), which warns of the two
			 * pfns; on any VM, whatever the slot is bound to.
			 */
			if (nr_vcpus > 1)
				break;
			set_slot(0);
			set_slot(SIZE);
			break;
		case 1:
			/* Files are shared, or it would hold what others have in pipes. */
			pid = syscall(__NR_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, 0);
			if (!pid) {
				(void)madvise(g.mem, SIZE, MADV_POPULATE_READ);
				_exit(0);
			}
			waitpid(pid, NULL, 0);
			break;
		case 2:
			/* Each costs the machine a page for good. */
			if (nr_poisoned++ >= 2)
				break;
			was_poisoned = is_poisoned[page];
			is_poisoned[page] = true;
			/*
			 * EFAULT is a page that was not mapped, or was poisoned already;
			 * other errors come when it is too late.
			 */
			if (madvise(g.mem + page * PAGE_SIZE, PAGE_SIZE, MADV_HWPOISON) &&
			    errno == EFAULT)
				is_poisoned[page] = was_poisoned;
			else
				count(&counts->poisoned);
			break;
		case 3 ... 7:
			(void)fallocate(g.fd, FALLOC_FL_KEEP_SIZE, page * PAGE_SIZE,
					nr * PAGE_SIZE);
			break;
		default:
			(void)fallocate(g.fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
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
			page = (state >> 33) % PAGES;
			if (state >> 63)
				WRITE_ONCE(*(u8 *)(GMEM_GPA + page * PAGE_SIZE), state >> 40);
			else
				READ_ONCE(*(u8 *)(GMEM_GPA + page * PAGE_SIZE));
			WRITE_ONCE(nr_accesses[id], nr_accesses[id] + 1);
		}
		GUEST_SYNC(0);
	}
}

/* Whatever a fault meets in between, the guest goes on; but it must go on. */
static void *run_vcpu(void *data)
{
	struct kvm_vcpu *vcpu = data;
	unsigned int state = vcpu_seed + vcpu->id;

	while (!READ_ONCE(stop)) {
		struct kvm_pre_fault_memory range = {
			.gpa = GMEM_GPA + dice(&state, PAGES) * PAGE_SIZE,
			.size = PAGE_SIZE,
		};
		int r = __vcpu_run(vcpu);
		u32 reason = vcpu->run->exit_reason;

		REQUIRE(!r || errno == EFAULT || errno == EHWPOISON || errno == EINTR ||
			errno == EAGAIN || READ_ONCE(stop),
			"KVM_RUN failed: %s", strerror(errno));
		REQUIRE(r || reason == KVM_EXIT_IO || reason == KVM_EXIT_MMIO ||
			reason == KVM_EXIT_MEMORY_FAULT, "exit reason %u", reason);
		count(&counts->guest_runs);
		if (dice(&state, 8) == 0)
			(void)__vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
	}
	return NULL;
}

static void ignore(int sig)
{
}

/* A guest that does not come to its next exit is KVM's fault; @vcpu says where it is. */
static void join_vcpu(pthread_t thread, struct kvm_vcpu *vcpu)
{
	u64 *accesses = addr_gva2hva(g.vm, (u64)&nr_accesses[vcpu->id]), before = *accesses;
	struct kvm_sync_regs *at = &vcpu->run->s.regs;
	struct timespec deadline;
	int stuck;

	for (stuck = 0; stuck < STUCK_SECONDS; stuck++) {
		/* time() is coarser than what the deadline is compared with. */
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

/*
 * Until there have been so many conversions, and the guest has run as well, or the
 * child, if this is not itself, has ended before.
 */
static void wait_for_work(u64 conversions, u64 guest_runs, pid_t child)
{
	siginfo_t info = {};

	while (READ_ONCE(counts->conversions) < conversions ||
	       READ_ONCE(counts->guest_runs) < guest_runs) {
		if (child)
			waitid(P_PID, child, &info, WEXITED | WNOHANG | WNOWAIT);
		if (info.si_pid)
			return;
		usleep(1000);
	}
}

/* The process: until the work is done, then the end that is asked for. */
static void run_process(enum ending ending, unsigned int seed, u64 conversions, u64 guest_runs)
{
	static void *(*const workers[])(void *) = {
		convert_the_file, convert_by_gpa, access_from_the_host,
		access_from_the_host, pin_and_unpin, pin_and_unpin, disturb,
	};
	struct sigaction sa = { .sa_handler = ignore };
	pthread_t threads[ARRAY_SIZE(workers)], runners[MAX_VCPUS];
	size_t i;

	/* Nobody else ends this if the test itself is ended. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);

	/* A memory error tells whoever maps the page. */
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	gmem_vm_create(&g, PAGES, GMEM_IN_PLACE);
	vcpu_seed = seed;
	vcpus[0] = g.vcpu;
	for (i = 1; i < nr_vcpus; i++)
		vcpus[i] = vm_vcpu_add(g.vm, i, guest_access);
	for (i = 0; i < nr_vcpus; i++) {
		vcpu_arch_set_entry_point(vcpus[i], guest_access);
		vcpu_args_set(vcpus[i], 2, seed + i, i);
		vcpus[i]->run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
		kvm_pthread_create(&runners[i], NULL, run_vcpu, vcpus[i]);
	}
	for (i = 0; i < ARRAY_SIZE(workers); i++)
		kvm_pthread_create(&threads[i], NULL, workers[i],
				   (void *)(uintptr_t)(seed + i * 7919));
	wait_for_work(conversions, guest_runs, 0);

	switch (ending) {
	case KILLED:
		pause();
		break;
	case FILE_FIRST:
		WRITE_ONCE(stop, true);
		close(g.fd);
		munmap(g.mem, SIZE);
		break;
	case VM_FIRST:
		WRITE_ONCE(stop, true);
		close(g.vm->fd);
		for (i = 0; i < nr_vcpus; i++)
			close(vcpus[i]->fd);
		(void)madvise(g.mem, SIZE, MADV_POPULATE_READ);
		break;
	default:
		WRITE_ONCE(stop, true);
		break;
	}

	for (i = 0; i < nr_vcpus; i++)
		join_vcpu(runners[i], vcpus[i]);
	for (i = 0; i < ARRAY_SIZE(workers); i++)
		kvm_pthread_join(threads[i], NULL);
	if (ending == ORDERLY) {
		/*
		 * With nobody left, everything converts once memory errors are punched
		 * out.  A mapping remembers them, so it has to be made anew.
		 */
		punch_hole(&g, 0, PAGES);
		kvm_munmap(g.mem, SIZE);
		g.mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g.fd);
		gmem_convert(&g, 0, PAGES, PRIVATE, ZERO);
		gmem_convert(&g, 0, PAGES, SHARED, NONE);
		TEST_ASSERT_EQ(host_read(&g, PAGES - 1), NONE_BYTE);
		gmem_vm_destroy(&g);
	}
	_exit(0);
}

/* VMs that are alive have a directory each. */
static int nr_vms(void)
{
	DIR *dir = opendir("/sys/kernel/debug/kvm");
	struct dirent *entry;
	int nr = 0;

	while (dir && (entry = readdir(dir)))
		nr += entry->d_type == DT_DIR && strchr(entry->d_name, '-');
	if (dir)
		closedir(dir);

	return nr;
}

struct usage {
	long file_pages;
	long unevictable;
	long locked;
	long pins;
	long vms;
};

static struct usage usage(void)
{
	/* Add up what each CPU has counted for itself. */
	TEST_ASSERT(!write_file("/proc/sys/vm/stat_refresh", "1"), "Cannot refresh vmstat");

	return (struct usage){
		.file_pages = read_number("/proc/vmstat", "nr_file_pages"),
		.unevictable = read_number("/proc/vmstat", "nr_unevictable"),
		.locked = read_number("/proc/vmstat", "nr_mlock"),
		.pins = read_number("/proc/vmstat", "nr_foll_pin_acquired") -
			read_number("/proc/vmstat", "nr_foll_pin_released"),
		.vms = nr_vms(),
	};
}

/* KASAN keeps freed objects in their slabs; kmemleak looks after those. */
static long free_kib(void)
{
	long kib = read_number("/proc/meminfo", "MemFree");

	if (!access("/sys/kernel/debug/kmemleak", F_OK))
		kib += read_number("/proc/meminfo", "Slab");

	return kib;
}

/* What is freed after a grace period, or counted per CPU, shows with some delay. */
static void expect_usage(struct usage before, long slack, enum ending ending)
{
	struct usage last = {}, now;
	int tries;

	for (tries = 0; tries < 10 * STUCK_SECONDS; tries++) {
		now = usage();
		if (memcmp(&now, &last, sizeof(now)))
			tries = 0;
		last = now;
		if (labs(now.file_pages - before.file_pages) <= slack &&
		    labs(now.unevictable - before.unevictable) <= 8 &&
		    now.locked <= before.locked && now.pins == before.pins &&
		    now.vms == before.vms)
			return;
		usleep(100000);
	}

	TEST_FAIL("Ending %d left: %ld file pages, %ld unevictable, %ld locked, %ld pins, %ld VMs",
		  ending, now.file_pages - before.file_pages, now.unevictable - before.unevictable,
		  now.locked - before.locked, now.pins - before.pins, now.vms - before.vms);
}

FIXTURE(stress) {
};

FIXTURE_SETUP(stress)
{
	struct gmem_vm probe;

	/* Skips where there is nothing to stress. */
	gmem_vm_create(&probe, 1, GMEM_IN_PLACE);
	gmem_vm_destroy(&probe);
	counts = kvm_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
}

FIXTURE_TEARDOWN(stress)
{
}

TEST_F(stress, everything_against_everything)
{
	u64 seconds = env_number("SECONDS", 0), seed = env_number("SEED", time(NULL)), round;
	u64 max_vcpus = env_number("VCPUS", 2);
	time_t end = time(NULL) + seconds;
	struct usage before = usage();
	long free_before = free_kib(), free_after;
	int status;
	pid_t pid;

	TEST_ASSERT(max_vcpus && max_vcpus <= MAX_VCPUS, "VCPUS= is 1 to %d", MAX_VCPUS);
	for (round = 0; seconds ? time(NULL) < end : round < ROUNDS; round++) {
		u64 conversions = counts->conversions, guest_runs = counts->guest_runs + 1;
		unsigned int state = seed + round;
		enum ending ending = round % NR_ENDINGS;

		show_progress("rounds", round, seconds ? 0 : ROUNDS);
		conversions += ROUND_WORK / 5 + dice(&state, ROUND_WORK * 4 / 5);
		nr_vcpus = 1 + dice(&state, max_vcpus);

		pid = fork();
		if (!pid)
			run_process(ending, state, conversions, guest_runs);
		if (ending == KILLED) {
			wait_for_work(conversions, guest_runs, pid);
			usleep(dice(&state, 200000));
			kill(pid, SIGKILL);
		}
		TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
		TEST_ASSERT(status == (ending == KILLED ? SIGKILL : 0),
			    "Round %lu, ending %d, SEED=%lu: status %#x, %s", round, ending, seed,
			    status, counts->failure);

		/* The first of each warm up what the kernel keeps. */
		expect_usage(before, round < NR_ENDINGS ? 64 : 8, ending);
		if (round < NR_ENDINGS) {
			before.file_pages = usage().file_pages;
			free_before = free_kib();
		}
	}

	free_after = free_kib() + counts->poisoned * PAGE_SIZE / 1024;
	printf("# measured: %lu rounds, %lu conversions, %lu refused (%lu without a pin), ",
	       round, counts->conversions, counts->refused, counts->transient);
	printf("%lu pins, %lu poisoned, %lu runs of the guest\n",
	       counts->pins, counts->poisoned, counts->guest_runs);
	TEST_ASSERT(counts->transient <= 1 + counts->conversions / 100000,
		    "%lu conversions refused without a pin is not rare", counts->transient);
	TEST_ASSERT(free_before - free_after < 16 * 1024,
		    "%ld KiB are gone after %lu rounds", free_before - free_after, round);
	TEST_ASSERT(counts->refused && counts->pins && counts->guest_runs,
		    "Not everything happened: %lu refused, %lu pins, %lu runs",
		    counts->refused, counts->pins, counts->guest_runs);
}

TEST_HARNESS_MAIN
