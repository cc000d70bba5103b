// SPDX-License-Identifier: GPL-2.0
/*
 * Mixed memory: each page changes according to its own state, at every boundary of the
 * tracking, even if the process is killed or if two callers want the same.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "gmem_harness.h"
#include "gmem_util.h"
#include "gmem_wait.h"

/*
 * Mixed memory.  After a conversion of the whole file, the contents of each page are
 * compared with a model, at the boundaries of a word, a leaf and a node of the tracking.
 */
enum mark {
	NOTHING,
	NONE_MARK,
	NONE_MARK_WITH_PAGE,
	DATA,
	NR_MARKS,
};

#define NR_KINDS	(2 * NR_MARKS)

static const u64 boundaries[] = { 64, 1024, 65536, 131072 };

#define MIXED_PAGES	(BIT_ULL(18))

FIXTURE(mixed) {
	struct gmem_vm g;
};

FIXTURE_SETUP(mixed)
{
	struct gmem_vm *g = &self->g;

	gmem_vm_create(g, GMEM_PAGES, GMEM_IN_PLACE);
	kvm_munmap(g->mem, GMEM_PAGES * PAGE_SIZE);
	close(g->fd);
	g->nr_pages = MIXED_PAGES;
	g->fd = vm_create_guest_memfd(g->vm, MIXED_PAGES * PAGE_SIZE, GMEM_IN_PLACE);
	g->mem = kvm_mmap(MIXED_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd);
}

FIXTURE_TEARDOWN(mixed)
{
	gmem_vm_destroy(&self->g);
}

/*
 * Turns a shared hole into a page of that kind, and returns the byte that it then reads,
 * before the conversion.
 */
static u8 make_kind(struct gmem_vm *g, u64 page, u64 kind)
{
	enum mark mark = kind / 2;
	u8 byte = 0;

	switch (mark) {
	case NONE_MARK_WITH_PAGE:
		kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, page * PAGE_SIZE, PAGE_SIZE);
		fallthrough;
	case NONE_MARK:
		gmem_convert(g, page, 1, PRIVATE, NONE);
		gmem_convert(g, page, 1, SHARED, PRESERVE);
		byte = expected(NONE, 0);
		break;
	case DATA:
		byte = 1 + page % 0x60;
		host_write(g, page, byte);
		break;
	default:
		break;
	}
	if (kind % 2)
		gmem_convert(g, page, 1, PRIVATE, PRESERVE);

	return byte;
}

static u8 after(u8 before, bool changes, u64 policy)
{
	return changes ? expected(policy, before) : before;
}

TEST_F(mixed, every_pair_of_kinds_at_every_boundary)
{
	u8 bytes[ARRAY_SIZE(boundaries)][2];
	struct gmem_vm *g = &self->g;
	u64 pair, attributes, policy, i, side, kinds[2], page, done = 0;

	for (pair = 0; pair < NR_KINDS * NR_KINDS; pair++) {
		kinds[0] = pair % NR_KINDS;
		kinds[1] = pair / NR_KINDS;
		for (policy = ZERO; policy <= NONE; policy++) {
			for (attributes = SHARED; ; attributes = PRIVATE) {
				if (!policy_works(attributes, policy))
					break;
				gmem_convert(g, 0, MIXED_PAGES, SHARED, ZERO);
				punch_hole(g, 0, MIXED_PAGES);
				for (i = 0; i < ARRAY_SIZE(boundaries); i++) {
					for (side = 0; side < 2; side++) {
						page = boundaries[i] - 1 + side;
						bytes[i][side] = make_kind(g, page, kinds[side]);
					}
				}

				gmem_convert(g, 0, MIXED_PAGES, attributes, policy);
				if (attributes)
					gmem_convert(g, 0, MIXED_PAGES, SHARED, PRESERVE);
				for (i = 0; i < ARRAY_SIZE(boundaries); i++) {
					for (side = 0; side < 2; side++) {
						bool changes = kinds[side] % 2 != !!attributes;
						u8 should = after(bytes[i][side], changes, policy);
						int is;

						page = boundaries[i] - 1 + side;
						is = host_read(g, page);
						TEST_ASSERT(is == should,
							    "Page %lu of kind %lu beside %lu reads %#x, not %#x, policy %lu to %lu",
							    page, kinds[side], kinds[!side], is,
							    should, policy, attributes);
					}
				}
				/* A page without a mark. */
				TEST_ASSERT_EQ(host_read(g, 200000), after(0, attributes, policy));

				show_progress("conversions", ++done, NR_KINDS * NR_KINDS * 6);
				if (attributes)
					break;
			}
		}
	}
}

/*
 * Every other page is private and every third has a mark of NONE; two pages in a hundred of
 * the file are present.
 */
#define ALTERNATE_PAGES	(65536 + 4096)

static bool is_looked_at(u64 page)
{
	return page % 97 < 2 || (page + 70) % 1024 < 4 || (page + 3) % 65536 < 6;
}

static void make_alternate(struct gmem_vm *g)
{
	u64 page;

	gmem_convert(g, 0, MIXED_PAGES, SHARED, ZERO);
	punch_hole(g, 0, MIXED_PAGES);
	gmem_convert(g, 0, MIXED_PAGES, PRIVATE, PRESERVE);
	for (page = 0; page < ALTERNATE_PAGES; page += 3)
		gmem_convert(g, page, 1, SHARED, NONE);
	gmem_convert(g, 0, MIXED_PAGES, PRIVATE, PRESERVE);
	for (page = 0; page < ALTERNATE_PAGES; page += 2) {
		gmem_convert(g, page, 1, SHARED, PRESERVE);
		if (page % 50 == 0)
			touch(g, page);
		show_progress("pages", page, ALTERNATE_PAGES);
	}
}

TEST_F(mixed, every_other_page)
{
	struct gmem_vm *g = &self->g;
	u64 policy, attributes, page;

	for (policy = ZERO; policy <= NONE; policy++) {
		for (attributes = SHARED; ; attributes = PRIVATE) {
			if (!policy_works(attributes, policy))
				break;
			make_alternate(g);
			gmem_convert(g, 0, MIXED_PAGES, attributes, policy);
			if (attributes)
				gmem_convert(g, 0, MIXED_PAGES, SHARED, PRESERVE);
			for (page = 0; page < ALTERNATE_PAGES; page++) {
				bool changes = (page % 2 == 1) != !!attributes;
				u8 before = page % 3 ? 0 : expected(NONE, 0);
				u8 should = after(before, changes, policy);
				int is;

				if (!is_looked_at(page))
					continue;
				is = host_read(g, page);
				TEST_ASSERT(is == should,
					    "Page %lu reads %#x, not %#x, policy %lu to %lu",
					    page, is, should, policy, attributes);
			}
			if (attributes)
				break;
		}
	}
}

/*
 * A page at the end is pinned, so each call checks everything and changes nothing.  A
 * process that makes such calls is killed.
 */
TEST_F(mixed, killed_between_and_in_conversions)
{
	int to_parent[2], status, pin, round;
	struct gmem_vm g;
	u64 page, where;
	pid_t pid;

	for (round = 0; round < 5; round++) {
		TEST_ASSERT(!pipe(to_parent), "pipe() failed");
		pid = fork();
		if (!pid) {
			gmem_vm_create(&g, MIXED_PAGES, GMEM_IN_PLACE);
			TEST_ASSERT_EQ(pin_longterm(g.mem + (MIXED_PAGES - 1) * PAGE_SIZE, &pin),
				       0);
			for (page = 0; page < ALTERNATE_PAGES; page += 2)
				gmem_convert(&g, page, 1, PRIVATE, PRESERVE);
			tell(to_parent[1]);
			for (;;) {
				int r = __gmem_convert(g.fd, 0, MIXED_PAGES * PAGE_SIZE, PRIVATE,
						       NONE, &where);

				TEST_ASSERT(r == -EAGAIN && where == (MIXED_PAGES - 1) * PAGE_SIZE,
					    "%s at %#lx", strerror(-r), where);
			}
		}
		close(to_parent[1]);
		hear(to_parent[0]);
		close(to_parent[0]);
		usleep(20000 + 3000 * round);
		kill(pid, SIGKILL);
		TEST_ASSERT(child_ends(pid, &status), "The process does not end");
		TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
			    "The child ended with status %#x", status);
		show_progress("rounds", round, 5);
	}
}

/*
 * Two callers that want the same.  One of them may find nothing to do while the other is
 * still working; when either returns, what it requested has been done.
 */
#define TWIN_PAGES	64
#define TWIN_ROUNDS	300

static struct twin {
	struct gmem_vm *g;
	pthread_barrier_t barrier;
} twin;

GMEM_FIXTURE(twins, TWIN_PAGES)

static void *convert_and_look(void *data)
{
	struct gmem_vm *g = twin.g;
	u64 round, i;

	for (round = 0; round < TWIN_ROUNDS; round++) {
		if (data) {
			memset(g->mem, 'a', TWIN_PAGES * PAGE_SIZE);
			show_progress("rounds", round, TWIN_ROUNDS);
		}

		pthread_barrier_wait(&twin.barrier);
		gmem_convert(g, 0, TWIN_PAGES, PRIVATE, ANY_TO_PRIVATE);
		for (i = 0; i < TWIN_PAGES; i++)
			TEST_ASSERT(madvise(g->mem + i * PAGE_SIZE, PAGE_SIZE, MADV_POPULATE_READ),
				    "Round %lu: page %lu can be mapped", round, i);

		pthread_barrier_wait(&twin.barrier);
		gmem_convert(g, 0, TWIN_PAGES, SHARED, NONE);
		for (i = 0; i < TWIN_PAGES; i++)
			TEST_ASSERT_EQ(host_read(g, i),
				       expected(NONE, expected(ANY_TO_PRIVATE, 'a')));
		pthread_barrier_wait(&twin.barrier);
	}

	return NULL;
}

TEST_F(twins, what_is_so_already_is_so_when_the_call_returns)
{
	pthread_t thread;

	twin.g = &self->g;
	TEST_ASSERT(!pthread_barrier_init(&twin.barrier, NULL, 2), "pthread_barrier_init() failed");
	kvm_pthread_create(&thread, NULL, convert_and_look, NULL);
	convert_and_look(&twin);
	kvm_pthread_join(thread, NULL);
}

TEST_HARNESS_MAIN
