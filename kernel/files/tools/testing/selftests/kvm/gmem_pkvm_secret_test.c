// SPDX-License-Identifier: GPL-2.0
/*
 * Protected guests that keep secrets in the pages which they do not share, while the host
 * converts, pins, writes, punches holes, has memory fail, and loses the file or the whole
 * VM.  The host never reads a secret, no secret changes, and a guest loses only pages that
 * the host has destroyed.
 *
 * SEED= starts the random numbers, RUNS= is the number of VMs for each ending.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "gmem_harness.h"
#include "gmem_pkvm.h"
#include "gmem_util.h"

/* One bit for each, in a register of the guest. */
#define PAGES		64
#define ALL_PAGES	(~0ul)

/* A page has CELLS words that matter.  A secret has the tag, its page, and a random half. */
#define CELLS		3
#define TAG		0x5ec00000ul
#define SECRET(page, random)	((TAG | (page)) << 32 | (u32)(random))
#define IS_SECRET(word)		((word) >> 52 == TAG >> 20)

/* A guest answers 0 each STEPS steps, and otherwise one of these with a page. */
#define STEPS		32
#define LOST_PAGE	BIT_ULL(62)
#define BROKEN_PAGE	BIT_ULL(63)

/* How often a guest answers in a VM that ends orderly, and how many pages the host destroys. */
#define ROUNDS		100
#define DESTROYED	24

static u64 *cell(void *mem, u64 page, int i)
{
	return mem + page * PAGE_SIZE + 256 + i * 1024;
}

static void write_cells(u64 page, u64 word)
{
	int i;

	for (i = 0; i < CELLS; i++)
		WRITE_ONCE(*cell((void *)GMEM_GPA, page, i), word);
}

static bool cells_are(u64 page, u64 word)
{
	int i;

	for (i = 0; i < CELLS; i++) {
		if (READ_ONCE(*cell((void *)GMEM_GPA, page, i)) != word)
			return false;
	}

	return true;
}

/* One of @nr vCPUs, whose pages are those with page % nr == id, except @lost. */
static void guest_keeps_secrets(u64 seed, u64 id_and_nr, u64 lost)
{
	u64 id = id_and_nr >> 32, nr = (u32)id_and_nr, i, page, secrets[PAGES];

	/* What was shared before is taken back; the rest, for which that fails, is private. */
	for (page = id; page < PAGES; page += nr) {
		if (lost & BIT(page))
			continue;
		guest_hypercall(MEM_UNSHARE, page);
		secrets[page] = SECRET(page, next_random(&seed));
		write_cells(page, secrets[page]);
	}

	for (i = 1; ; i++) {
		if (i % STEPS == 0)
			guest_answer(0);

		page = next_random(&seed) % PAGES / nr * nr + id;
		if (page >= PAGES || lost & BIT(page))
			continue;
		if (secrets[page] && !cells_are(page, secrets[page]))
			guest_answer(BROKEN_PAGE | page);

		switch (next_random(&seed) % 3) {
		case 0:
			write_cells(page, 0);
			secrets[page] = 0;
			if (guest_hypercall(MEM_SHARE, page))
				guest_answer(LOST_PAGE | page);
			break;
		case 1:
			if (!secrets[page] && guest_hypercall(MEM_UNSHARE, page))
				guest_answer(LOST_PAGE | page);
			secrets[page] = SECRET(page, next_random(&seed));
			write_cells(page, secrets[page]);
			break;
		default:
			if (!secrets[page])
				write_cells(page, i);
			break;
		}
	}
}

static struct {
	struct gmem_vm *g;
	int nr_vcpus;
	/* 0: until @stop. */
	u64 max_rounds;
	bool stop;
	/* The file is gone: whatever the host asks for may fail. */
	bool closed;
	/* Pages that the host has destroyed, or is about to; and that guests have missed. */
	u64 destroyed;
	u64 lost;

	u64 nr_rounds;
	u64 nr_exits;
	u64 nr_sigbus;
	u64 nr_converted;
	u64 nr_refused;
	u64 nr_pinned;
} host;

#define COUNT(what)	__atomic_fetch_add(&host.what, 1, __ATOMIC_RELAXED)

static void add_page(u64 *set, u64 page)
{
	__atomic_fetch_or(set, BIT(page), __ATOMIC_SEQ_CST);
}

static void expect_public(u64 word)
{
	TEST_ASSERT(!IS_SECRET(word), "The host reads the secret %#lx", word);
}

/* By offset or by address. */
static int convert_somehow(u64 page, u64 nr, u64 attributes, u64 *seed)
{
	bool by_gpa = next_random(seed) % 2;
	u64 policy, start = page * PAGE_SIZE, where;
	int r;

	do
		policy = next_random(seed) % 3;
	while (!policy_works(attributes, policy));
	r = __gmem_convert(by_gpa ? host.g->vm->fd : host.g->fd, start + (by_gpa ? GMEM_GPA : 0),
			   nr * PAGE_SIZE, attributes, policy, &where);
	TEST_ASSERT(!r || r == -EAGAIN || r == -EPERM || r == -EHWPOISON || READ_ONCE(host.closed),
		    "%s at %#lx", strerror(-r), where);
	if (r)
		COUNT(nr_refused);
	else
		COUNT(nr_converted);

	return r;
}

static void *run_vcpu(void *data)
{
	struct kvm_vcpu *vcpu = data;
	u64 seed = vcpu->id, round = 0, value;
	enum guest_exit exit = GUEST_MISSES_PAGE;

	while (!READ_ONCE(host.stop) && (!host.max_rounds || round < host.max_rounds)) {
		if (exit == GUEST_MISSES_PAGE)
			guest_start(host.g, vcpu, guest_keeps_secrets, next_random(&seed),
				    (u64)vcpu->id << 32 | host.nr_vcpus, READ_ONCE(host.lost));

		exit = guest_run(vcpu, &value);
		if (exit == GUEST_ANSWERS && !value) {
			round++;
			COUNT(nr_rounds);
			continue;
		}
		TEST_ASSERT(exit != GUEST_ANSWERS || !(value & BROKEN_PAGE),
			    "Page %lu of the guest has changed", value & 0xff);

		COUNT(nr_exits);
		if (exit == GUEST_ANSWERS) {
			value &= 0xff;
			exit = GUEST_MISSES_PAGE;
		} else {
			value = (value - GMEM_GPA) / PAGE_SIZE;
		}
		if (READ_ONCE(host.closed))
			exit = GUEST_MISSES_PAGE;
		/* Sometimes the guest just has to ask again. */
		if (exit != GUEST_MISSES_PAGE && next_random(&seed) % 8 &&
		    convert_somehow(value, 1, exit == GUEST_WANTS_PRIVATE ? PRIVATE : SHARED,
				    &seed) == -EHWPOISON)
			exit = GUEST_MISSES_PAGE;
		if (exit == GUEST_MISSES_PAGE) {
			TEST_ASSERT(READ_ONCE(host.destroyed) & BIT(value),
				    "The guest misses page %lu, which nobody destroyed", value);
			add_page(&host.lost, value);
		}
	}

	return NULL;
}

/* A fault on a page that is private, has failed, or is no longer mapped. */
static __thread sigjmp_buf fault_jmpbuf;

static void on_fault(int sig)
{
	siglongjmp(fault_jmpbuf, 1);
}

static void *touch(void *data)
{
	u64 seed = (u64)data, *word;
	volatile u64 nr = 0;

	while (!READ_ONCE(host.stop)) {
		word = cell(host.g->mem, next_random(&seed) % PAGES, next_random(&seed) % CELLS);
		if (sigsetjmp(fault_jmpbuf, 1)) {
			COUNT(nr_sigbus);
			continue;
		}
		expect_public(READ_ONCE(*word));
		if (nr++ % 2)
			WRITE_ONCE(*word, nr);
	}

	return NULL;
}

static void *convert(void *data)
{
	u64 seed = (u64)data, first, nr;

	while (!READ_ONCE(host.stop)) {
		first = next_random(&seed) % PAGES;
		nr = 1 + next_random(&seed) % min_t(u64, 6, PAGES - first);
		convert_somehow(first, nr, next_random(&seed) % 2 ? PRIVATE : SHARED, &seed);
		usleep(next_random(&seed) % 2000);
	}

	return NULL;
}

static void *pin(void *data)
{
	u64 seed = (u64)data;
	u8 buffer[PAGE_SIZE];
	int pipefd[2], i;

	while (!READ_ONCE(host.stop)) {
		if (!pin_in_pipe(host.g->mem + next_random(&seed) % PAGES * PAGE_SIZE, pipefd)) {
			usleep(next_random(&seed) % 3000);
			/* It fails if the page has failed. */
			if (read(pipefd[0], buffer, PAGE_SIZE) == PAGE_SIZE) {
				for (i = 0; i < CELLS; i++)
					expect_public(*cell(buffer, 0, i));
			}
			COUNT(nr_pinned);
		}
		unpin_pipe(pipefd);
		usleep(next_random(&seed) % 3000);
	}

	return NULL;
}

/* The only one that removes pages, so the frame of a page stays the same until it does. */
static void *destroy(void *data)
{
	volatile u64 seed = (u64)data;
	volatile int left = DESTROYED;
	u64 state, page, pfn;

	while (!READ_ONCE(host.stop) && left) {
		state = seed;
		page = next_random(&state) % PAGES;
		usleep(next_random(&state) % 60000);
		seed = state;

		pfn = 0;
		if (state % 3 == 0) {
			if (sigsetjmp(fault_jmpbuf, 1))
				continue;
			READ_ONCE(host.g->mem[page * PAGE_SIZE]);
			/* It may become private before that, or after. */
			pfn = mapped_pfn(host.g->mem + page * PAGE_SIZE);
			if (!pfn)
				continue;
			usleep(20000);
		}
		add_page(&host.destroyed, page);
		if (pfn)
			(void)poison_frame(pfn);
		if (!pfn || state % 2)
			(void)fallocate(host.g->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
					page * PAGE_SIZE, PAGE_SIZE);
		left--;
	}

	return NULL;
}

enum ending {
	ORDERLY,
	FILE_FIRST,
	EXECUTES,
	KILLED,
};

/* The guests run on until they have missed every page. */
static void lose_file(struct gmem_vm *g)
{
	int null = open("/dev/null", O_RDWR);
	u64 lost, before = 0;

	WRITE_ONCE(host.destroyed, ALL_PAGES);
	WRITE_ONCE(host.closed, true);
	/* Nobody may get the number of the file, or the address of the mapping, instead. */
	TEST_ASSERT_EQ(dup2(null, g->fd), g->fd);
	TEST_ASSERT(mmap(g->mem, PAGES * PAGE_SIZE, PROT_NONE,
			 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == g->mem,
		    "mmap() failed");
	while ((lost = READ_ONCE(host.lost)) != ALL_PAGES) {
		if (lost != before)
			show_progress("pages missed", __builtin_popcountl(lost), PAGES);
		before = lost;
		usleep(1000);
	}
	WRITE_ONCE(host.stop, true);
}

static void run_vm(u64 seed, enum ending ending)
{
	static void *(*const threads[])(void *) = { touch, touch, convert, pin, destroy };
	struct sigaction sa = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	char * const program[] = { "/bin/busybox", "true", NULL };
	pthread_t guest_threads[MAX_GUEST_VCPUS], host_threads[ARRAY_SIZE(threads)];
	struct kvm_vcpu *vcpus[MAX_GUEST_VCPUS];
	struct gmem_vm g;
	u64 i;

	host.nr_vcpus = 1 + seed % MAX_GUEST_VCPUS;
	host.max_rounds = ending == ORDERLY ? ROUNDS : 0;
	gmem_vm_create_vcpus(&g, PAGES, GMEM_IN_PLACE, host.nr_vcpus, vcpus);
	host.g = &g;
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	for (i = 0; i < host.nr_vcpus; i++)
		kvm_pthread_create(&guest_threads[i], NULL, run_vcpu, vcpus[i]);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		kvm_pthread_create(&host_threads[i], NULL, threads[i], (void *)(seed + i * 1000));

	while (ending != ORDERLY && READ_ONCE(host.nr_rounds) < ROUNDS / 4)
		usleep(1000);
	if (ending == FILE_FIRST)
		lose_file(&g);
	else if (ending == EXECUTES)
		execv(program[0], program);
	else if (ending == KILLED)
		kill(getpid(), SIGKILL);

	for (i = 0; i < host.nr_vcpus; i++)
		kvm_pthread_join(guest_threads[i], NULL);
	WRITE_ONCE(host.stop, true);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		kvm_pthread_join(host_threads[i], NULL);
	printf("# measured: %d vCPUs, %lu exits, %lu SIGBUS, %lu conversions, %lu refused, ",
	       host.nr_vcpus, host.nr_exits, host.nr_sigbus, host.nr_converted, host.nr_refused);
	printf("%lu pins, %d pages destroyed, %d missed\n", host.nr_pinned,
	       __builtin_popcountl(host.destroyed), __builtin_popcountl(host.lost));
	fflush(stdout);
	exit(0);
}

FIXTURE(secrets) {
};

FIXTURE_VARIANT(secrets) {
	enum ending ending;
};

FIXTURE_VARIANT_ADD(secrets, orderly) { .ending = ORDERLY };
FIXTURE_VARIANT_ADD(secrets, file_first) { .ending = FILE_FIRST };
FIXTURE_VARIANT_ADD(secrets, executes) { .ending = EXECUTES };
FIXTURE_VARIANT_ADD(secrets, killed) { .ending = KILLED };

FIXTURE_SETUP(secrets)
{
}

FIXTURE_TEARDOWN(secrets)
{
}

TEST_F(secrets, are_kept)
{
	u64 seed = env_number("SEED", time(NULL)), nr = env_number("RUNS", 4), i;
	int status;
	pid_t pid;

	for (i = 0; i < nr; i++) {
		pid = fork();
		if (!pid)
			run_vm(seed + i, variant->ending);
		TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
		TEST_ASSERT(status == (variant->ending == KILLED ? SIGKILL : 0),
			    "SEED=%lu ended with status %#x", seed + i, status);
		show_progress("VMs", i, nr);
	}
}

TEST_HARNESS_MAIN
