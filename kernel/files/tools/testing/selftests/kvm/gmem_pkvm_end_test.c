// SPDX-License-Identifier: GPL-2.0
/*
 * When a protected VM ends, in any state and during any operation, all its memory returns
 * to the host.  Until then neither side harms the other.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sizes.h>

#include "gmem_harness.h"
#include "gmem_pkvm.h"
#include "gmem_util.h"

/*
 * When a VM ends, in any state, all its memory returns to the host.  Half of the pages are
 * in that state, the other half is the guest's.
 */
#define ENDING_PAGES	256
#define ENDING_VMS	104
/*
 * What a kernel may keep for itself, far less than these VMs had.  A kernel without
 * in-place memory loses some 15 KiB for each vCPU of a protected VM.
 */
#define SLACK_KIB	(10 * SZ_1K)
#define SLACK_VCPU_KIB	32

enum ending {
	UNTOUCHED,
	PRIVATE_PAGES,
	SHARED_PAGES,
	AGREED,
	TAKEN_BACK,
	CLAIMED_BEFORE,
	HOLES,
	VM_FIRST,
};

FIXTURE(ending) {
};

FIXTURE_VARIANT(ending) {
	enum ending state;
};

FIXTURE_VARIANT_ADD(ending, untouched) { .state = UNTOUCHED };
FIXTURE_VARIANT_ADD(ending, private) { .state = PRIVATE_PAGES };
FIXTURE_VARIANT_ADD(ending, shared) { .state = SHARED_PAGES };
FIXTURE_VARIANT_ADD(ending, agreed) { .state = AGREED };
FIXTURE_VARIANT_ADD(ending, taken_back) { .state = TAKEN_BACK };
FIXTURE_VARIANT_ADD(ending, not_taken_back) { .state = CLAIMED_BEFORE };
FIXTURE_VARIANT_ADD(ending, holes) { .state = HOLES };
FIXTURE_VARIANT_ADD(ending, vm_before_file) { .state = VM_FIRST };

FIXTURE_SETUP(ending)
{
}

FIXTURE_TEARDOWN(ending)
{
}

static void bring_to(struct gmem_vm *g, enum ending state)
{
	const u64 half = ENDING_PAGES / 2;
	u64 i, where;

	memset(g->mem, 'a', ENDING_PAGES * PAGE_SIZE);
	gmem_convert(g, 0, ENDING_PAGES, PRIVATE, PRESERVE);
	for (i = state == UNTOUCHED ? half : 0; i < ENDING_PAGES; i++)
		TEST_ASSERT_EQ(guest_read(g, i), 'a');

	switch (state) {
	case SHARED_PAGES:
	case VM_FIRST:
		gmem_convert(g, 0, half, SHARED, PRESERVE);
		TEST_ASSERT_EQ(host_read(g, 1), 'a');
		break;
	case AGREED:
		guest_agrees(g, 0, half);
		break;
	case TAKEN_BACK:
		gmem_convert(g, 0, half, SHARED, PRESERVE);
		gmem_convert(g, 0, half, PRIVATE, PRESERVE);
		break;
	case CLAIMED_BEFORE:
		gmem_convert(g, 0, half, SHARED, PRESERVE);
		TEST_ASSERT_EQ(try_convert(g, 0, half, PRIVATE, PRESERVE, &where), 0);
		break;
	case HOLES:
		gmem_convert(g, 0, half / 2, SHARED, PRESERVE);
		punch_hole(g, 0, half);
		break;
	default:
		break;
	}
}

static void one_ending(enum ending state)
{
	struct gmem_vm g;

	gmem_vm_create(&g, ENDING_PAGES, GMEM_IN_PLACE);
	bring_to(&g, state);
	if (state != VM_FIRST) {
		gmem_vm_destroy(&g);
		return;
	}

	/* The file remains, and what was the guest's now belongs to the host. */
	guest_destroy(&g);
	TEST_ASSERT_EQ(host_read(&g, 1), 'a');
	TEST_ASSERT(!is_mappable(&g, ENDING_PAGES - 1), "A private page of a dead VM is mappable");
	kvm_munmap(g.mem, ENDING_PAGES * PAGE_SIZE);
	close(g.fd);
}

/* Free memory, once the kernel has dropped what it keeps for reuse. */
static long free_kib(void)
{
	(void)write_file("/proc/sys/vm/drop_caches", "3");
	(void)write_file("/proc/sys/vm/compact_memory", "1");

	return read_number("/proc/meminfo", "MemFree");
}

static void expect_level(long before, int nr_vms, int nr_vcpus)
{
	long missing, i;

	/* Allow time for what is freed late, by RCU or a worker. */
	for (i = 0; i < 100; i++) {
		missing = before - free_kib();
		if (missing <= SLACK_KIB)
			break;
		usleep(20000);
	}
	printf("# measured: %ld KiB less after %d VMs\n", missing, nr_vms);
	TEST_ASSERT(missing <= SLACK_KIB + nr_vms * nr_vcpus * SLACK_VCPU_KIB,
		    "%ld KiB are missing after %d VMs", missing, nr_vms);
}

TEST_F(ending, memory_is_the_hosts_again)
{
	long before;
	int i;

	one_ending(variant->state);
	before = free_kib();
	for (i = 0; i < ENDING_VMS; i++) {
		one_ending(variant->state);
		show_progress("VMs", i, ENDING_VMS);
	}
	expect_level(before, ENDING_VMS, 1);
}

/*
 * Guests that share, take back and touch at random, while the host does as it likes, with
 * threads that touch the mapping, convert and pin.  SIGBUS and refusals are allowed.  What
 * a page contains at MAGIC_AT is changed by neither side, and is lost for both if the
 * kernel has to take a page from the guest by force.
 */
#define CHURN_PAGES	64
#define MAGIC_AT	2048
#define MAGIC(page)	(0x6d61676963000000ul + (page))
#define CHURN_STEPS	64
#define ROUNDS		150

static u64 *magic_of(void *mem, u64 page)
{
	return mem + page * PAGE_SIZE + MAGIC_AT;
}

/* Answers 0 every CHURN_STEPS steps, or what it found instead of the magic. */
static void guest_churner(u64 seed)
{
	u64 i, page, magic;

	for (i = 1; ; i++) {
		page = next_random(&seed) % CHURN_PAGES;
		switch (next_random(&seed) % 4) {
		case 0:
			guest_hypercall(MEM_SHARE, page);
			break;
		case 1:
			guest_hypercall(MEM_UNSHARE, page);
			break;
		case 2:
			WRITE_ONCE(*(u8 *)(GMEM_GPA + page * PAGE_SIZE + 1), i);
			break;
		default:
			magic = READ_ONCE(*magic_of((void *)GMEM_GPA, page));
			if (magic != MAGIC(page))
				guest_answer(magic ? magic : -1ul);
			break;
		}
		if (i % CHURN_STEPS == 0)
			guest_answer(0);
	}
}

static struct {
	struct gmem_vm *g;
	bool stop;
	u64 nr_exits;
	u64 nr_sigbus;
	u64 nr_converted;
	u64 nr_refused;
	u64 nr_pinned;
} churn;

static __thread sigjmp_buf touch_jmpbuf;

static void touch_handler(int sig)
{
	siglongjmp(touch_jmpbuf, 1);
}

static bool is_refusal(int r)
{
	/* EINTR does not count: nobody sends a signal. */
	return r == -EAGAIN || r == -EPERM;
}

static void *churn_vcpu(void *data)
{
	struct kvm_vcpu *vcpu = data;
	u64 round = 0, value, where;
	enum guest_exit exit;
	int r;

	while (!READ_ONCE(churn.stop) && round < ROUNDS) {
		exit = guest_run(vcpu, &value);
		if (exit == GUEST_ANSWERS) {
			TEST_ASSERT(!value, "vCPU %u found %#lx in a page", vcpu->id, value);
			round++;
			if (!vcpu->id)
				show_progress("rounds", round, ROUNDS);
			continue;
		}

		TEST_ASSERT(exit != GUEST_MISSES_PAGE, "The guest has lost page %#lx", value);
		r = __gmem_convert(vcpu->vm->fd, value, PAGE_SIZE,
				   exit == GUEST_WANTS_PRIVATE ? PRIVATE : SHARED, PRESERVE,
				   &where);
		TEST_ASSERT(!r || is_refusal(r), "%s at %#lx", strerror(-r), where);
		__atomic_fetch_add(&churn.nr_exits, 1, __ATOMIC_RELAXED);
	}

	return NULL;
}

static void *churn_touch(void *data)
{
	u64 seed = (u64)data, page, magic;
	volatile u64 nr = 0;

	while (!READ_ONCE(churn.stop)) {
		page = next_random(&seed) % CHURN_PAGES;
		if (sigsetjmp(touch_jmpbuf, 1)) {
			__atomic_fetch_add(&churn.nr_sigbus, 1, __ATOMIC_RELAXED);
			continue;
		}
		if (nr++ % 2)
			WRITE_ONCE(churn.g->mem[page * PAGE_SIZE], nr);
		magic = READ_ONCE(*magic_of(churn.g->mem, page));
		TEST_ASSERT(magic == MAGIC(page), "The host found %#lx in page %lu", magic, page);
	}

	return NULL;
}

static void *churn_convert(void *data)
{
	u64 seed = (u64)data, first, nr, where, attributes;
	int r;

	while (!READ_ONCE(churn.stop)) {
		first = next_random(&seed) % CHURN_PAGES;
		nr = 1 + next_random(&seed) % min_t(u64, 4, CHURN_PAGES - first);
		attributes = next_random(&seed) % 2 ? PRIVATE : SHARED;
		r = __gmem_convert(churn.g->fd, first * PAGE_SIZE, nr * PAGE_SIZE, attributes,
				   next_random(&seed) % 2 ? PRESERVE : NONE, &where);
		TEST_ASSERT(!r || is_refusal(r), "%s at %#lx", strerror(-r), where);
		__atomic_fetch_add(r ? &churn.nr_refused : &churn.nr_converted, 1,
				   __ATOMIC_RELAXED);
		usleep(next_random(&seed) % 2000);
	}

	return NULL;
}

/* The kernel reads the pages it holds, after the guest has tried to take them back. */
static void *churn_pin(void *data)
{
	u64 seed = (u64)data, page, magic;
	u8 buffer[PAGE_SIZE];
	int pipefd[2];

	while (!READ_ONCE(churn.stop)) {
		page = next_random(&seed) % CHURN_PAGES;
		if (!pin_in_pipe(churn.g->mem + page * PAGE_SIZE, pipefd)) {
			usleep(next_random(&seed) % 3000);
			TEST_ASSERT_EQ(read(pipefd[0], buffer, PAGE_SIZE), PAGE_SIZE);
			magic = *magic_of(buffer, 0);
			TEST_ASSERT(magic == MAGIC(page), "The kernel found %#lx in page %lu",
				    magic, page);
			__atomic_fetch_add(&churn.nr_pinned, 1, __ATOMIC_RELAXED);
		}
		unpin_pipe(pipefd);
		usleep(next_random(&seed) % 3000);
	}

	return NULL;
}

/* The guest also has @nr_more pages that nobody asks for. */
static void churn_all(int nr_vcpus, u64 nr_more)
{
	static void *(*const hosts[])(void *) = { churn_touch, churn_convert, churn_pin };
	struct sigaction sa = { .sa_handler = touch_handler, .sa_flags = SA_NODEFER };
	pthread_t guest_threads[MAX_GUEST_VCPUS], host_threads[ARRAY_SIZE(hosts)];
	struct kvm_vcpu *vcpus[MAX_GUEST_VCPUS];
	struct gmem_vm g;
	u64 i;

	gmem_vm_create_vcpus(&g, CHURN_PAGES + nr_more, GMEM_IN_PLACE, nr_vcpus, vcpus);
	for (i = 0; i < CHURN_PAGES; i++)
		*magic_of(g.mem, i) = MAGIC(i);
	churn.g = &g;
	sigaction(SIGBUS, &sa, NULL);

	if (nr_more)
		guest_start_touching(&g, CHURN_PAGES, nr_more);
	for (i = 0; i < nr_more; i++)
		guest_touch_next(&g);
	for (i = 0; i < nr_vcpus; i++) {
		guest_start(&g, vcpus[i], guest_churner, i + 1, 0, 0);
		kvm_pthread_create(&guest_threads[i], NULL, churn_vcpu, vcpus[i]);
	}
	for (i = 0; i < ARRAY_SIZE(hosts); i++)
		kvm_pthread_create(&host_threads[i], NULL, hosts[i], (void *)(i + 100));
	for (i = 0; i < nr_vcpus; i++)
		kvm_pthread_join(guest_threads[i], NULL);
	WRITE_ONCE(churn.stop, true);
	for (i = 0; i < ARRAY_SIZE(hosts); i++)
		kvm_pthread_join(host_threads[i], NULL);

	printf("# measured: %lu exits, %lu SIGBUS, %lu conversions, %lu refused, %lu pins\n",
	       churn.nr_exits, churn.nr_sigbus, churn.nr_converted, churn.nr_refused,
	       churn.nr_pinned);
	signal(SIGBUS, SIG_DFL);
	gmem_vm_destroy(&g);
}

FIXTURE(churn) {
};

FIXTURE_VARIANT(churn) {
	int nr_vcpus;
};

FIXTURE_VARIANT_ADD(churn, one_vcpu) { .nr_vcpus = 1 };
FIXTURE_VARIANT_ADD(churn, two_vcpus) { .nr_vcpus = 2 };
FIXTURE_VARIANT_ADD(churn, four_vcpus) { .nr_vcpus = 4 };

FIXTURE_SETUP(churn)
{
}

FIXTURE_TEARDOWN(churn)
{
}

TEST_F(churn, neither_side_harms_the_other)
{
	churn_all(variant->nr_vcpus, 0);
}

/* Whatever they are doing. */
#define KILLED_VMMS	20
#define MORE_PAGES	256

TEST_F(churn, killed_vmm_leaves_all_memory)
{
	long before = 0;
	int i, status;
	pid_t pid;

	for (i = 0; i < KILLED_VMMS; i++) {
		pid = fork();
		if (!pid) {
			for (;;)
				churn_all(variant->nr_vcpus, MORE_PAGES);
		}
		usleep(200000 + 37000 * (i % 7));
		kill(pid, SIGKILL);
		TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
		TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
			    "The VMM ended by itself, with status %#x", status);
		/* The first VM fills caches. */
		if (!i)
			before = free_kib();
		show_progress("VMMs", i, KILLED_VMMS);
	}
	expect_level(before, KILLED_VMMS - 1, variant->nr_vcpus);
}

TEST_HARNESS_MAIN
